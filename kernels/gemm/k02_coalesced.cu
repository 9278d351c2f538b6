// k02: neighbouring threads take neighbouring k.
//
// Changes k01: a warp works on one output instead of 32. Both operands have k innermost, so the direction in which memory runs is k,
// and lane l takes k = l, l + 32, ...; the 32 partial sums meet in five shuffles. Taking neighbouring *columns* would
// mend only the stores: rows of B lie as far apart as rows of A.
// Gain: a load by a warp is 4 whole sectors instead of up to 32 in which one value is wanted. For 32 outputs, 8 sectors for each k
// instead of 33: a quarter, every byte of them used. The bytes asked for are the same, still 8 for every two operations.
//@ entry: gemm_coalesced
//@ arch: host sm_80 sm_90a sm_100a gfx90a gfx942 gfx1100
//@ param: WARPS=8
//@ threads: WARPS*32
//@ grid: M, cdiv(N,WARPS)
//@ args: a b c M N K

#include "gpu.h"

KERNEL void gemm_coalesced(GLOBAL(const float) a, GLOBAL(const float) b, GLOBAL(float) c, int M, int N, int K) {
    // ANCHOR: solve-coalesced
    const int LANES = 32;  // also where a warp has 64: then its halves work on two outputs
    int lane = threadIdx.x % LANES;
    int row = blockIdx.x;
    int col = blockIdx.y * WARPS + threadIdx.x / LANES;
    if (col < N) {
        a += (long long)row * K;
        b += (long long)col * K;
    }
    float sum = 0.0f;
    for (int k = lane; k < K && col < N; k += LANES) sum += a[k] * b[k];
    for (int distance = LANES / 2; distance > 0; distance /= 2) sum += shuffle_xor(sum, distance);
    if (lane == 0 && col < N) c[(long long)row * N + col] = sum;
    // ANCHOR_END: solve-coalesced
}
