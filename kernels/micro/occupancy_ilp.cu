// What keeps an arithmetic unit busy: warps, or independent work within a warp.
//
// A multiprocessor has four schedulers, each of which starts one warp's FMA (32 lanes) a cycle; a result can be used after 4. So a
// scheduler needs 4 independent FMAs at any time, and does not care from where. Prediction, FMAs a cycle and multiprocessor:
// 32 * sum over the schedulers of min(1, warps * ILP / 4): 4 warps with one chain each give 32 of 128, with four chains each 128;
// 16 warps with one chain each 128 as well.
//@ entry: occupancy_ilp
//@ arch: sm_80 sm_90a sm_100a
//@ param: WARPS=4 ILP=4
//@ variant: few WARPS=1 ILP=1
//@ variant: many WARPS=32 ILP=8
//@ threads: WARPS*32
//@ grid: SMS
//@ args: cycles out a b ROUNDS
//@ expect: sm_90a FFMA>=16

#include "micro.h"

// Chain j of thread t starts at t + j; every round applies x -> a*x + b to it 16 times.
KERNEL void occupancy_ilp(GLOBAL(u64) cycles, GLOBAL(float) out, float a, float b, int ROUNDS) {
    float x[ILP];
#pragma unroll
    for (int j = 0; j < ILP; ++j) x[j] = (float)(threadIdx.x + j);
    __syncthreads();
    u64 begin = now();
#pragma unroll 1
    for (int round = 0; round < ROUNDS; ++round) {
#pragma unroll
        for (int u = 0; u < 16; ++u) {
#pragma unroll
            for (int j = 0; j < ILP; ++j) x[j] = fmaf(x[j], a, b);
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) cycles[blockIdx.x] = now() - begin;
#pragma unroll
    for (int j = 0; j < ILP; ++j) out[(blockIdx.x * WARPS * WARP + threadIdx.x) * ILP + j] = x[j];
}
