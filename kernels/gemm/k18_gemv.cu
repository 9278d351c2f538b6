// k18: one row of A: matrix times vector, as decoding one token does it.
//
// y[N] = B[N, K] * x[K], weights in bf16, x and y in f32. Each weight is used once, so nothing is worth keeping in shared memory:
// the floor is 2*N*K bytes over the memory's bandwidth, and the task is to have enough of them under way.
// A warp takes ROWS rows: its lanes load 8 neighbouring weights each, 16 bytes, 512 a warp and row; the 8 values of x that belong to them
// serve all its rows. UNROLL such steps are loaded before the first is used: ROWS * UNROLL = 4 loads of 16 bytes under way a thread.
// A bf16 is the upper half of an f32: decoding is a shift or a mask. Five shuffles add up the lanes.
// Transactions: N*K/16 sectors of weights, every byte used; x comes from cache.
// Rows are aligned to 16 bytes only if K is a multiple of 8: otherwise weight by weight.
//@ entry: gemv
//@ arch: host sm_80 sm_90a sm_100a gfx90a gfx942 gfx1100
//@ param: WARPS=4 ROWS=2 UNROLL=2
//@ variant: one ROWS=1 UNROLL=4
//@ threads: WARPS*32
//@ grid: cdiv(N,WARPS*ROWS)
//@ args: b x y N K

#include "gpu.h"

#define LANES 32
#define STEP (LANES * 8)  // weights of a row that a warp loads at once

// The products of 8 weights, two in each word, with 8 values of x.
DEVICE float dot8(uint4 w, float4 low, float4 high) {
    float sum = float_of_bf16(w.x) * low.x + __uint_as_float(w.x & 0xffff0000u) * low.y;
    sum += float_of_bf16(w.y) * low.z + __uint_as_float(w.y & 0xffff0000u) * low.w;
    sum += float_of_bf16(w.z) * high.x + __uint_as_float(w.z & 0xffff0000u) * high.y;
    return sum + float_of_bf16(w.w) * high.z + __uint_as_float(w.w & 0xffff0000u) * high.w;
}

// U steps from weight k on: all loads of weights stand before the first use, so that all are under way together.
template <int U>
DEVICE void steps(GLOBAL(const unsigned short) (&row)[ROWS], GLOBAL(const float) x, int k, float (&sum)[ROWS]) {
    // ANCHOR: solve-gemv
    uint4 w[U][ROWS];
#pragma unroll
    for (int u = 0; u < U; ++u)
#pragma unroll
        for (int r = 0; r < ROWS; ++r) w[u][r] = vector_load<uint4>(row[r] + (k + u * STEP));
#pragma unroll
    for (int u = 0; u < U; ++u) {
        float4 low = vector_load<float4>(x + (k + u * STEP)), high = vector_load<float4>(x + (k + u * STEP + 4));
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sum[r] += dot8(w[u][r], low, high);
    }
    // ANCHOR_END: solve-gemv
}

KERNEL void __launch_bounds__(WARPS * LANES)
gemv(GLOBAL(const unsigned short) b, GLOBAL(const float) x, GLOBAL(float) y, int N, int K) {
    int lane = threadIdx.x % LANES;
    int row0 = (blockIdx.x * WARPS + threadIdx.x / LANES) * ROWS;
    if (row0 >= N) return;  // a whole warp, so that no shuffle misses a lane
    GLOBAL(const unsigned short) row[ROWS];
    // Beyond the last row the last is read again: the loads need no condition, and nothing is stored.
#pragma unroll
    for (int r = 0; r < ROWS; ++r) row[r] = b + (long long)min(row0 + r, N - 1) * K;
    float sum[ROWS] = {};
    if (K % 8 == 0) {
        int k = lane * 8;
        for (; k + (UNROLL - 1) * STEP < K; k += UNROLL * STEP) steps<UNROLL>(row, x, k, sum);
        for (; k < K; k += STEP) steps<1>(row, x, k, sum);
    } else {
        for (int k = lane; k < K; k += LANES)
#pragma unroll
            for (int r = 0; r < ROWS; ++r) sum[r] += float_of_bf16(row[r][k]) * x[k];
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        for (int distance = LANES / 2; distance > 0; distance /= 2) sum[r] += shuffle_xor(sum[r], distance);
        if (lane == 0 && row0 + r < N) y[row0 + r] = sum[r];
    }
}
