// What a stride costs in shared memory.
//
// Lane l of a warp reads the 4-byte word l*STRIDE. Word w lies in bank w % 32, and a bank answers one word a cycle: lanes whose words
// differ but share a bank wait for each other. Prediction: gcd(STRIDE, 32) cycles a warp's load. So an odd stride is free (33
// costs 1: why tiles are padded by one), 2 costs 2, 24 costs 8, 32 costs 32.
//@ entry: bank_conflicts
//@ arch: sm_80 sm_90a sm_100a
//@ param: THREADS=1024 UNROLL=8
//@ threads: THREADS
//@ grid: SMS
//@ args: cycles sum STRIDE ROUNDS
//@ expect: sm_90a LDS>=8

#include "micro.h"

#define ROWS (WARP * 33 / 32 + UNROLL)

// Word i of shared memory holds i. Load u of a round reads u rows of 32 words further down: the same banks, another address.
KERNEL void bank_conflicts(GLOBAL(u64) cycles, GLOBAL(unsigned) sum, int STRIDE, int ROUNDS) {
    SHARED(unsigned, data, ROWS * WARP);
    for (int i = threadIdx.x; i < ROWS * WARP; i += THREADS) data[i] = i;
    unsigned at = shared_address(data + threadIdx.x % WARP * STRIDE), total = 0;
    __syncthreads();
    u64 begin = now();
#pragma unroll 1
    for (int round = 0; round < ROUNDS; ++round) {
        unsigned word[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; ++u)
            asm volatile("ld.volatile.shared.u32 %0, [%1];" : "=r"(word[u]) : "r"(at + u * WARP * 4));
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) total += word[u];
    }
    __syncthreads();
    if (threadIdx.x == 0) cycles[blockIdx.x] = now() - begin;
    add_to(sum, total);
}
