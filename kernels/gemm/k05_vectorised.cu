// k05: 16 bytes a load.
//
// Changes k04: operands move as float4. From global memory one load takes four k of a row; the tile is turned over on its way into shared
// memory, [k][row], so that four neighbouring rows lie together and the inner loop reads 4 float4 for 64 products where k04 reads
// 16 words. A thread's 8 x 8 patch is four 4 x 4 corners, 64 apart.
// Gain: a quarter of the load instructions for the same bytes. Instructions were the limit: 16 loads beside 64 multiply-adds.
// PAD = 4 words a row: the stores that turn the tile over go to 32 different banks (k of the two halves of a row of 8 lie
// 4 * 132 = 16 mod 32 banks apart, rows lie side by side), and rows stay aligned to 16 bytes. Variant `conflicts` shows it without.
// Rows of A and B are aligned to 16 bytes only if K is a multiple of 4, rows of C if N is: otherwise word by word.
//@ entry: gemm_vectorised
//@ arch: host sm_80 sm_90a sm_100a gfx90a gfx942 gfx1100
//@ param: PAD=4
//@ variant: conflicts PAD=0
//@ threads: 256
//@ grid: cdiv(M,128), cdiv(N,128)
//@ args: a b c M N K

#include "gpu.h"

#define TILE 128
#define BK 8
#define ROW (TILE + PAD)

// Four k of a row, zeros beyond the edge.
DEVICE float4 four(GLOBAL(const float) rows, long long row, int k, int count, int K) {
    float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (row >= count) return v;
    rows += row * K + k;
    if (K % 4 == 0) {
        if (k < K) v = vector_load<float4>(rows);
        return v;
    }
    if (k + 0 < K) v.x = rows[0];
    if (k + 1 < K) v.y = rows[1];
    if (k + 2 < K) v.z = rows[2];
    if (k + 3 < K) v.w = rows[3];
    return v;
}

KERNEL void __launch_bounds__(256)
gemm_vectorised(GLOBAL(const float) a, GLOBAL(const float) b, GLOBAL(float) c, int M, int N, int K) {
    SHARED(float, tile_a, BK * ROW);  // [k][row of A]
    SHARED(float, tile_b, BK * ROW);  // [k][row of B]
    int row0 = blockIdx.x * TILE, col0 = blockIdx.y * TILE;
    int load_row = threadIdx.x / 2, load_k = threadIdx.x % 2 * 4;  // two threads load a row's 8 values
    int x = threadIdx.x % 16 * 4, y = threadIdx.x / 16 * 4;
    float sum[8][8] = {};
    for (int k0 = 0; k0 < K; k0 += BK) {
        // ANCHOR: solve-vectorised
        float4 va = four(a, row0 + load_row, k0 + load_k, M, K);
        float4 vb = four(b, col0 + load_row, k0 + load_k, N, K);
        tile_a[(load_k + 0) * ROW + load_row] = va.x;
        tile_a[(load_k + 1) * ROW + load_row] = va.y;
        tile_a[(load_k + 2) * ROW + load_row] = va.z;
        tile_a[(load_k + 3) * ROW + load_row] = va.w;
        tile_b[(load_k + 0) * ROW + load_row] = vb.x;
        tile_b[(load_k + 1) * ROW + load_row] = vb.y;
        tile_b[(load_k + 2) * ROW + load_row] = vb.z;
        tile_b[(load_k + 3) * ROW + load_row] = vb.w;
        __syncthreads();
#pragma unroll
        for (int k = 0; k < BK; ++k) {
            float4 a0 = vector_load<float4>(tile_a + (k * ROW + y));
            float4 a1 = vector_load<float4>(tile_a + (k * ROW + y + 64));
            float4 b0 = vector_load<float4>(tile_b + (k * ROW + x));
            float4 b1 = vector_load<float4>(tile_b + (k * ROW + x + 64));
            float left[8] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
            float right[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
#pragma unroll
            for (int i = 0; i < 8; ++i)
#pragma unroll
                for (int j = 0; j < 8; ++j) sum[i][j] += left[i] * right[j];
        }
        __syncthreads();
        // ANCHOR_END: solve-vectorised
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        int row = row0 + y + i % 4 + i / 4 * 64;
        if (row >= M) continue;
        GLOBAL(float) to = c + (long long)row * N;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            int col = col0 + x + half * 64, j = half * 4;
            if (N % 4 == 0) {
                if (col < N) vector_store(to + col, make_float4(sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]));
                continue;
            }
            if (col + 0 < N) to[col + 0] = sum[i][j + 0];
            if (col + 1 < N) to[col + 1] = sum[i][j + 1];
            if (col + 2 < N) to[col + 2] = sum[i][j + 2];
            if (col + 3 < N) to[col + 3] = sum[i][j + 3];
        }
    }
}
