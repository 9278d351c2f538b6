// The f32 ceiling of the whole chip, and the clock that it runs at.
//
// 132 multiprocessors * 128 lanes * 2 operations * 1.98 GHz = 66.9 TFLOP/s. Hypothesis: 64 warps of eight chains each are far more
// than the schedulers need (see occupancy_ilp.cu), and FMAs draw too little power to lower the clock. Prediction: 66 TFLOP/s, since
// the loop adds three instructions to 128. The cycles over the time give the clock: 1980 MHz.
//@ entry: fma_rate
//@ arch: sm_80 sm_90a sm_100a
//@ param: THREADS=1024 ILP=8
//@ threads: THREADS
//@ grid: SMS*2
//@ args: cycles out a b ROUNDS
//@ expect: sm_90a FFMA>=128

#include "micro.h"

// Chain j of thread t starts at t + j; every round applies x -> a*x + b to it 16 times.
KERNEL void __launch_bounds__(THREADS) fma_rate(GLOBAL(u64) cycles, GLOBAL(float) out, float a, float b, int ROUNDS) {
    float x[ILP];
#pragma unroll
    for (int j = 0; j < ILP; ++j) x[j] = (float)(threadIdx.x + j);
    u64 begin = now();
#pragma unroll 1
    for (int round = 0; round < ROUNDS; ++round) {
#pragma unroll
        for (int u = 0; u < 16; ++u) {
#pragma unroll
            for (int j = 0; j < ILP; ++j) x[j] = fmaf(x[j], a, b);
        }
    }
    if (threadIdx.x == 0) cycles[blockIdx.x] = now() - begin;
    float total = 0.0f;
#pragma unroll
    for (int j = 0; j < ILP; ++j) total += x[j];
    out[blockIdx.x * THREADS + threadIdx.x] = total;
}
