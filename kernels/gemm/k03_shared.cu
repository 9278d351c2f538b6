// k03: tiles in shared memory.
//
// Changes k02: a block computes TILE x TILE outputs. It brings a TILE x TILE tile of A and one of B into shared memory, coalesced along
// k, and each value that was loaded once serves TILE outputs. Two barriers a tile: none may read before all have written,
// none may write the next tile before all have read.
// Gain: global traffic falls by TILE, to 8 / 32 bytes for every two operations. The price is two reads of shared memory for them.
// PAD: the lanes of a warp read a *column* of the tile of B. With rows of 32 words they would all want the same bank: 32 wavefronts
// instead of 1 (variant `conflicts`). One word more a row sends each to a bank of its own.
//@ entry: gemm_shared
//@ arch: host sm_80 sm_90a sm_100a gfx90a gfx942 gfx1100
//@ param: TILE=32 PAD=1
//@ variant: conflicts PAD=0
//@ threads: TILE*TILE
//@ grid: cdiv(M,TILE), cdiv(N,TILE)
//@ args: a b c M N K

#include "gpu.h"

KERNEL void gemm_shared(GLOBAL(const float) a, GLOBAL(const float) b, GLOBAL(float) c, int M, int N, int K) {
    const int ROW = TILE + PAD;
    SHARED(float, tile_a, TILE * (TILE + PAD));  // [row of A][k]
    SHARED(float, tile_b, TILE * (TILE + PAD));  // [row of B][k]
    int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
    int row = blockIdx.x * TILE + y, col = blockIdx.y * TILE + x;
    int row_b = blockIdx.y * TILE + y;  // the row of B that this thread loads: x runs along k, not along columns
    GLOBAL(const float) from_a = a + (long long)row * K;
    GLOBAL(const float) from_b = b + (long long)row_b * K;
    float sum = 0.0f;
    // ANCHOR: solve-shared
    for (int k0 = 0; k0 < K; k0 += TILE) {
        // Zeros beyond the edges add nothing.
        float value_a = 0.0f, value_b = 0.0f;
        if (row < M && k0 + x < K) value_a = from_a[k0 + x];
        if (row_b < N && k0 + x < K) value_b = from_b[k0 + x];
        tile_a[y * ROW + x] = value_a;
        tile_b[y * ROW + x] = value_b;
        __syncthreads();
        for (int k = 0; k < TILE; ++k) sum += tile_a[y * ROW + k] * tile_b[x * ROW + k];
        __syncthreads();
    }
    // ANCHOR_END: solve-shared
    if (row < M && col < N) c[(long long)row * N + col] = sum;
}
