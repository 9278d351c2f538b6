// k06: tensor cores.
//
// Changes k05: operands are bf16, C too, and a warp multiplies 16 x 16 by 16 x 8 in one instruction, mma.sync; sums stay in f32. The block's tile
// stays 128 x 128; its 8 warps compute 64 x 32 each, 4 x 4 products of the instruction. For 16 k a warp reads (64 + 32) * 16 elements, 3 KB, for
// 65 536 operations.
// Gain: half the bytes an element; and 1024 multiply-adds a clock and multiprocessor on sm_80 where the vector units do 64 (on sm_90
// mma.sync reaches about two thirds of what wgmma does, k09).
// What it leaves: rows of a tile are 128 bytes, so that the 8 rows which a fragment load touches begin in the same bank: 8 wavefronts where
// one would do. Shared memory is the limit.
// Any M, N and K: chunks of 16 bytes where rows are multiples of that, else element by element; zeros beyond the edges.
//@ entry: gemm_mma
//@ arch: sm_80 sm_90a sm_100a
//@ param: BK=64
//@ variant: short BK=32
//@ threads: 256
//@ grid: cdiv(M,128), cdiv(N,128)
//@ args: a b c M N K
//@ expect: sm_80 HMMA.16816>=32
//@ expect: sm_90a HMMA.16816>=32
//@ expect: sm_100a HMMA.16816>=32

#include "sm80.h"

#define TILE 128

// Brings rows row0 .. row0 + 127, k0 .. k0 + BK - 1 into shared memory.
DEVICE void load_tile(u16* tile, const u16* rows, int row0, int k0, int count, int K, bool aligned) {
#pragma unroll
    for (int i = 0; i < TILE * BK / 8 / 256; ++i) {
        int row = (i * 256 + threadIdx.x) / (BK / 8), k = threadIdx.x % (BK / 8) * 8;
        vector_store(tile + row * BK + k, chunk_of_row(rows, row0 + row, k0 + k, count, K, aligned));
    }
}

DEVICE u32 pair(const u16* tile, int row, int k) { return vector_load<u32>(tile + row * BK + k); }

KERNEL void __launch_bounds__(256) gemm_mma(const u16* a, const u16* b, u16* c, int M, int N, int K) {
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
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int e = 0; e < 4; ++e) left[i][e] = pair(tile_a, warp_row + i * 16 + r + e % 2 * 8, k + q + e / 2 * 8);
#pragma unroll
            for (int j = 0; j < 4; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e) right[j][e] = pair(tile_b, warp_col + j * 8 + r, k + q + e * 8);
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
