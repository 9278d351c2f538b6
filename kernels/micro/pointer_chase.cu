// What one load costs when nothing hides it: the latency of L1, L2 and memory.
//
// One thread follows pointers, one to each line of 128 bytes, in random order: every load waits for the one before. Where the lines
// fit decides what answers. Predictions, in cycles: up to 128 KB the L1 (256 KB a multiprocessor): 40. From 1 MB on the L2: 265.
// At 32 MB still that, unless each half of the 60 MB L2 keeps its own copy of what its multiprocessors read: then more. 1 GB comes
// from memory: 273 ns as measured on an H100 by others, 540 cycles at 1.98 GHz, and more if the address translation misses too.
//@ entry: pointer_chase
//@ arch: sm_80 sm_90a sm_100a
//@ param: UNROLL=16
//@ threads: 1
//@ grid: 1
//@ args: state cycles WARM STEPS
//@ expect: sm_90a LDG>=16

#include "micro.h"

DEVICE u64 follow(u64 at) {
    u64 next;
    asm volatile("ld.global.u64 %0, [%1];" : "=l"(next) : "l"(at) : "memory");
    return next;
}

// `state` is where the last launch stopped: going on from there, no launch finds the lines of the one before in a cache by chance.
// WARM steps fill the L1, which no launch inherits. STEPS is a multiple of UNROLL.
KERNEL void pointer_chase(GLOBAL(u64) state, GLOBAL(u64) cycles, int WARM, int STEPS) {
    u64 at = state[0];
#pragma unroll 1
    for (int i = 0; i < WARM; ++i) at = follow(at);
    u64 begin = now();
#pragma unroll 1
    for (int i = 0; i < STEPS; i += UNROLL) {
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) at = follow(at);
    }
    // The clock is read when the last load has been issued, not when it has come back; the same holds at the beginning.
    cycles[0] = now() - begin;
    state[0] = at;
}
