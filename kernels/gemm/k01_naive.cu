// k01: one thread an output, all operands from global memory.
//
// C[M, N] = A[M, K] * B[N, K]^T in f32, both operands with k innermost, as a linear layer has them. Neighbouring threads take
// neighbouring *rows* of C, on purpose: a load of A by a warp touches 32 rows and so 32 sectors of 32 bytes for 128 useful bytes, a
// load of B one sector for 4 bytes that all lanes share, a store 32 sectors.
// Transactions: (32 + 1) * K + 32 sectors for every 32 outputs.
// Floor: 2*M*N*K operations, and 8 bytes for every two of them if no cache helped.
//@ entry: gemm_naive
//@ arch: host sm_80 sm_90a sm_100a gfx90a gfx942 gfx1100
//@ param: TILE=32
//@ threads: TILE*TILE
//@ grid: cdiv(M,TILE), cdiv(N,TILE)
//@ args: a b c M N K

#include "gpu.h"

KERNEL void gemm_naive(GLOBAL(const float) a, GLOBAL(const float) b, GLOBAL(float) c, int M, int N, int K) {
    int row = blockIdx.x * TILE + threadIdx.x % TILE;
    int col = blockIdx.y * TILE + threadIdx.x / TILE;
    if (row >= M || col >= N) return;
    a += (long long)row * K;
    b += (long long)col * K;
    float sum = 0.0f;
    for (int k = 0; k < K; ++k) sum += a[k] * b[k];
    c[(long long)row * N + col] = sum;
}
