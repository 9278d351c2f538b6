// k04: a patch of outputs in the registers of each thread.
//
// Changes k03: a thread computes PATCH x PATCH outputs instead of one. For each k it reads PATCH values of A and PATCH of B from shared memory
// and combines each with each: 16 reads for 64 products with PATCH = 8, where k03 reads 2 for one. The block's tile grows to
// 16 * PATCH = 128 rows and columns, so global traffic falls by another factor of 4.
// Gain: shared memory gives 32 words a clock, and 128 products a clock want 256 operands; k03 is held to 16 products a clock by that,
// this one to 128. From here on arithmetic can be the limit.
// A thread's rows and columns lie 16 apart, so that its neighbours read neighbouring rows and store neighbouring columns. One word
// of padding makes those reads free of conflicts; a store of 4 rows of 8 words takes 2 wavefronts (they span 35 words, and there are 32 banks), which is
// one wavefront in 17 of all.
//@ entry: gemm_register_tile
//@ arch: host sm_80 sm_90a sm_100a gfx90a gfx942 gfx1100
//@ param: PATCH=8 BK=8
//@ variant: small PATCH=4
//@ threads: 256
//@ grid: cdiv(M,16*PATCH), cdiv(N,16*PATCH)
//@ args: a b c M N K

#include "gpu.h"

#define THREADS 256
#define SIDE 16               // threads along each side of the tile
#define TILE (SIDE * PATCH)   // outputs along each side of the tile
#define ROW (BK + 1)          // one word of padding: lanes read down a column

KERNEL void __launch_bounds__(THREADS)
gemm_register_tile(GLOBAL(const float) a, GLOBAL(const float) b, GLOBAL(float) c, int M, int N, int K) {
    SHARED(float, tile_a, TILE * ROW);  // [row of A][k]
    SHARED(float, tile_b, TILE * ROW);  // [row of B][k]
    int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
    int row0 = blockIdx.x * TILE, col0 = blockIdx.y * TILE;
    float sum[PATCH][PATCH] = {};
    for (int k0 = 0; k0 < K; k0 += BK) {
        // ANCHOR: solve-register-tile
        // BK neighbouring threads load one row's part: whole sectors again.
#pragma unroll
        for (int i = threadIdx.x; i < TILE * BK; i += THREADS) {
            int row = i / BK, k = i % BK;
            float value_a = 0.0f, value_b = 0.0f;
            if (row0 + row < M && k0 + k < K) value_a = a[(long long)(row0 + row) * K + k0 + k];
            if (col0 + row < N && k0 + k < K) value_b = b[(long long)(col0 + row) * K + k0 + k];
            tile_a[row * ROW + k] = value_a;
            tile_b[row * ROW + k] = value_b;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < BK; ++k) {
            float left[PATCH], right[PATCH];
#pragma unroll
            for (int i = 0; i < PATCH; ++i) left[i] = tile_a[(y + i * SIDE) * ROW + k];
#pragma unroll
            for (int j = 0; j < PATCH; ++j) right[j] = tile_b[(x + j * SIDE) * ROW + k];
#pragma unroll
            for (int i = 0; i < PATCH; ++i)
#pragma unroll
                for (int j = 0; j < PATCH; ++j) sum[i][j] += left[i] * right[j];
        }
        __syncthreads();
        // ANCHOR_END: solve-register-tile
    }
#pragma unroll
    for (int i = 0; i < PATCH; ++i)
#pragma unroll
        for (int j = 0; j < PATCH; ++j) {
            int row = row0 + y + i * SIDE, col = col0 + x + j * SIDE;
            if (row < M && col < N) c[(long long)row * N + col] = sum[i][j];
        }
}
