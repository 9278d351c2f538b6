// k07: ldmatrix and a swizzle.
//
// Changes k06: fragments come by ldmatrix, four 8x8 matrices an instruction, and where a 16-byte chunk of a row lies depends on the row: chunk c
// of row r at place c XOR r % 8. Rows of a tile are 128 bytes, all 32 banks, so the same chunk of 8 rows would lie in the same 4 banks; with
// the XOR it lies in 8 different places, and a matrix is read in one wavefront. The chunks of a row, written side by side, stay within it: no
// conflict there either, and no padding.
// Gain: for 16 k a warp reads 3 KB of fragments: in k06 by 24 loads of 8 wavefronts each, here by 6 of 4, which is 128 bytes a wavefront.
// It is the layout that TMA writes and wgmma reads from k09 on: 128-byte swizzle. Variant `conflicts` leaves the XOR out.
//@ entry: gemm_swizzle
//@ arch: sm_80 sm_90a sm_100a
//@ param: XOR=7
//@ variant: conflicts XOR=0
//@ threads: 256
//@ grid: cdiv(M,128), cdiv(N,128)
//@ args: a b c M N K
//@ expect: sm_80 HMMA.16816>=64 LDSM>=24
//@ expect: sm_90a HMMA.16816>=64 LDSM>=24
//@ expect: sm_100a HMMA.16816>=64 LDSM>=24

#include "sm80.h"

#define TILE 128
#define BK 64

// Where eight elements of a row lie, k a multiple of 8.
DEVICE int place(int row, int k) { return row * BK + (k / 8 ^ (row & XOR)) * 8; }

DEVICE void load_tile(u16* tile, const u16* rows, int row0, int k0, int count, int K, bool aligned) {
#pragma unroll
    for (int i = 0; i < TILE * BK / 8 / 256; ++i) {
        int row = (i * 256 + threadIdx.x) / (BK / 8), k = threadIdx.x % (BK / 8) * 8;
        vector_store(tile + place(row, k), chunk_of_row(rows, row0 + row, k0 + k, count, K, aligned));
    }
}

KERNEL void __launch_bounds__(256) gemm_swizzle(const u16* a, const u16* b, u16* c, int M, int N, int K) {
    SHARED(u16, tile_a, TILE * BK);
    SHARED(u16, tile_b, TILE * BK);
    const int row0 = blockIdx.x * TILE, col0 = blockIdx.y * TILE, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int warp_row = warp % 2 * 64, warp_col = warp / 2 * 32, r = lane / 4, q = lane % 4 * 2;
    const bool aligned = rows_aligned(a, K) && rows_aligned(b, K);
    float sum[4][4][4] = {};
    for (int k0 = 0; k0 < K; k0 += BK) {
        load_tile(tile_a, a, row0, k0, M, K, aligned);
        load_tile(tile_b, b, col0, k0, N, K, aligned);
        __syncthreads();
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
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int h = 0; h < 2; ++h)
                store_pair(c, row0 + warp_row + i * 16 + r + h * 8, col0 + warp_col + j * 8 + q, M, N, sum[i][j][2 * h], sum[i][j][2 * h + 1]);
}
