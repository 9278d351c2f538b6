// How fast shared memory is read, by the width of a thread's load.
//
// 32 banks of 4 bytes answer once a cycle: 128 bytes a cycle and multiprocessor, 33 TB/s on the chip. Hypothesis: the width of a load
// changes the number of instructions, not the bytes a cycle, since a warp's 8-byte load takes two cycles and its 16-byte load four.
// Prediction: 128 for 4, 8 and 16 bytes. A narrow load that falls short would show that issuing one a cycle is what limits.
//@ entry: shared_bandwidth
//@ arch: sm_80 sm_90a sm_100a
//@ param: WIDTH=16 THREADS=1024 UNROLL=8
//@ variant: w4 WIDTH=4
//@ variant: w8 WIDTH=8
//@ threads: THREADS
//@ grid: SMS
//@ args: cycles sum ROUNDS
//@ expect: sm_90a LDS>=8

#include "micro.h"

#if WIDTH == 16
#define LOAD "ld.volatile.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
#elif WIDTH == 8
#define LOAD "ld.volatile.shared.v2.u32 {%0, %1}, [%4];"
#else
#define LOAD "ld.volatile.shared.u32 %0, [%4];"
#endif

// Word i of shared memory holds i. `cycles` has one entry a block.
KERNEL void shared_bandwidth(GLOBAL(u64) cycles, GLOBAL(unsigned) sum, int ROUNDS) {
    SHARED(unsigned, data, THREADS * 4);
    for (int i = threadIdx.x; i < THREADS * 4; i += THREADS) data[i] = i;
    unsigned at = shared_address(data) + threadIdx.x * WIDTH, total = 0;
    __syncthreads();
    u64 begin = now();
#pragma unroll 1
    for (int round = 0; round < ROUNDS; ++round) {
        uint4 word[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            word[u] = make_uint4(0, 0, 0, 0);
            asm volatile(LOAD : "+r"(word[u].x), "+r"(word[u].y), "+r"(word[u].z), "+r"(word[u].w) : "r"(at));
        }
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) total += word[u].x + word[u].y + word[u].z + word[u].w;
    }
    __syncthreads();
    if (threadIdx.x == 0) cycles[blockIdx.x] = now() - begin;
    add_to(sum, total);
}
