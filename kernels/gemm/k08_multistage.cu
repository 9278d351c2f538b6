// k08: a ring of stages that cp.async fills.
//
// Changes k07: a tile goes from global to shared memory without passing registers, and STAGES - 1 tiles are under way while one is multiplied.
// One barrier a tile instead of two: it says both that the tile of this step has landed for all and that all are done with the tile before,
// whose place the copies asked for next take.
// Gain: in k07 every step waits for global memory, up to 800 ns, before a multiprocessor's tensor cores may work on the tile for some 450 ns.
// Here two tiles of 32 KB are asked for ahead, 900 ns of work: the wait ends before the work does. 16 registers a thread are free as well, so
// that two blocks fit on a multiprocessor and one multiplies while the other is at its barrier.
// Right for any M, N and K: 16-byte copies only where rows are multiples of 16 bytes, else plain loads into the same places, which the same
// barrier makes visible. This is the kernel that arrays get which TMA cannot address.
//@ entry: gemm_multistage
//@ arch: sm_80 sm_90a sm_100a
//@ param: STAGES=3
//@ variant: deep STAGES=4
//@ threads: 256
//@ smem: STAGES*2*128*64*2
//@ grid: cdiv(M,128), cdiv(N,128)
//@ args: a b c M N K
//@ expect: sm_80 HMMA.16816>=64 LDSM>=24 LDGSTS>=8
//@ expect: sm_90a HMMA.16816>=64 LDSM>=24 LDGSTS>=8
//@ expect: sm_100a HMMA.16816>=64 LDSM>=24 LDGSTS>=8

#include "sm80.h"

#define TILE 128
#define BK 64

// Where eight elements of a row lie, k a multiple of 8.
DEVICE int place(int row, int k) { return row * BK + (k / 8 ^ row % 8) * 8; }

DEVICE void load_tile(u16* tile, const u16* rows, int row0, int k0, int count, int K, bool aligned) {
#pragma unroll
    for (int i = 0; i < TILE * BK / 8 / 256; ++i) {
        int row = (i * 256 + threadIdx.x) / (BK / 8), k = threadIdx.x % (BK / 8) * 8;
        if (aligned) {
            bool wanted = row0 + row < count && k0 + k < K;
            copy_async(tile + place(row, k), wanted ? rows + (long long)(row0 + row) * K + k0 + k : rows, wanted);
        } else {
            vector_store(tile + place(row, k), chunk_of_row(rows, row0 + row, k0 + k, count, K, false));
        }
    }
}

KERNEL void __launch_bounds__(256, 2) gemm_multistage(const u16* a, const u16* b, u16* c, int M, int N, int K) {
    extern __shared__ __align__(128) u16 ring[];  // of each stage, the tile of A and the tile of B
    const int row0 = blockIdx.x * TILE, col0 = blockIdx.y * TILE, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int warp_row = warp % 2 * 64, warp_col = warp / 2 * 32, r = lane / 4, q = lane % 4 * 2;
    const int steps = (K + BK - 1) / BK;
    const bool aligned = rows_aligned(a, K) && rows_aligned(b, K);
    auto load = [&](int step) {
        if (step < steps) {
            u16* tiles = ring + step % STAGES * (2 * TILE * BK);
            load_tile(tiles, a, row0, step * BK, M, K, aligned);
            load_tile(tiles + TILE * BK, b, col0, step * BK, N, K, aligned);
        }
        copy_commit();  // a group a step, even if empty: so the count of groups says which tiles have landed
    };
    float sum[4][4][4] = {};
    for (int step = 0; step < STAGES - 1; ++step) load(step);
    for (int step = 0; step < steps; ++step) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        load(step + STAGES - 1);
        const u16 *tile_a = ring + step % STAGES * (2 * TILE * BK), *tile_b = tile_a + TILE * BK;
#pragma unroll
        for (int k = 0; k < BK; k += 16) {
            u32 left[4][4], right[4][2];
#pragma unroll
            for (int i = 0; i < 4; ++i)  // rows 0-7 and 8-15, then the same of the next eight k
                load_matrices(tile_a + place(warp_row + i * 16 + lane % 16, k + lane / 16 * 8), left[i][0], left[i][1], left[i][2], left[i][3]);
#pragma unroll
            for (int j = 0; j < 4; j += 2)  // both halves of k of eight rows, then of the next eight
                load_matrices(tile_b + place(warp_col + j * 8 + lane / 16 * 8 + lane % 8, k + lane / 8 % 2 * 8), right[j][0], right[j][1],
                              right[j + 1][0], right[j + 1][1]);
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) mma(sum[i][j], left[i], right[j]);
        }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int h = 0; h < 2; ++h)
                store_pair(c, row0 + warp_row + i * 16 + r + h * 8, col0 + warp_col + j * 8 + q, M, N, sum[i][j][2 * h], sum[i][j][2 * h + 1]);
}
