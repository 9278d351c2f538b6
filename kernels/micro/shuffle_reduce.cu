// A sum over a warp's 32 lanes, three ways.
//
// METHOD 0: five butterflies of `shfl` and add; 1: the same butterflies through shared memory; 2: `redux.sync`, one instruction for
// integers. What counts is latency: a reduction is waited for. Predictions, in cycles a reduction, the add of the lane's number that
// makes each depend on the last included: shuffles 5 * (23 + 5) + 5 = 145; shared memory 5 * (29 to load, 5 to add, 10 to store
// and fence) + 5 = 225; redux about 30.
//@ entry: shuffle_reduce
//@ arch: sm_80 sm_90a sm_100a
//@ param: METHOD=0
//@ variant: shared METHOD=1
//@ variant: redux METHOD=2
//@ threads: 32
//@ grid: SMS
//@ args: cycles out ROUNDS
//@ expect: sm_90a CS2R>=2

#include "micro.h"

KERNEL void shuffle_reduce(GLOBAL(u64) cycles, GLOBAL(unsigned) out, int ROUNDS) {
    unsigned lane = threadIdx.x, value = lane;
#if METHOD == 1
    __shared__ volatile unsigned slot[WARP];
#endif
    u64 begin = now();
#pragma unroll 4
    for (int round = 0; round < ROUNDS; ++round) {
#if METHOD == 0
#pragma unroll
        for (int apart = WARP / 2; apart > 0; apart /= 2) value += __shfl_xor_sync(0xffffffffu, value, apart);
#elif METHOD == 1
#pragma unroll
        for (int apart = WARP / 2; apart > 0; apart /= 2) {
            slot[lane] = value;
            __syncwarp();
            value += slot[lane ^ apart];
            __syncwarp();
        }
#else
        value = __reduce_add_sync(0xffffffffu, value);
#endif
        value += lane;
    }
    if (lane == 0) cycles[blockIdx.x] = now() - begin;
    out[blockIdx.x * WARP + lane] = value;
}
