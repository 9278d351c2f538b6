// How fast the L2 is read, and where it ends.
//
// All threads stride through a footprint again and again, past the L1 (`ld.global.cg`), so that neighbouring multiprocessors read
// neighbouring words and in the next round other ones. Bound: 5120 bytes a cycle in all, which NVIDIA states for the A100 and which
// nothing public raises for Hopper: 10.1 TB/s at 1.98 GHz. Prediction: 65% of it, as A100s show: 6.6 TB/s up to 16 MB. At 32 MB
// the same if both halves of the L2 share what they hold. From 128 MB on the memory's 4.4 TB/s, since in cyclic order nothing
// is found again.
//@ entry: l2_bandwidth
//@ arch: sm_80 sm_90a sm_100a
//@ param: THREADS=512 UNROLL=8 BLOCKS=4
//@ threads: THREADS
//@ grid: SMS*BLOCKS
//@ args: data sum WORDS ROUNDS
//@ expect: sm_90a LDG.E.128>=8

#include "micro.h"

// WORDS of 16 bytes, a power of two. Word n of the walk, n = 0 .. ROUNDS*UNROLL*threads, is word n % WORDS of the data.
KERNEL void l2_bandwidth(GLOBAL(const uint4) data, GLOBAL(unsigned) sum, int WORDS, int ROUNDS) {
    unsigned step = gridDim.x * THREADS, n = blockIdx.x * THREADS + threadIdx.x, total = 0;
#pragma unroll 1
    for (int round = 0; round < ROUNDS; ++round) {
        uint4 word[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; ++u, n += step) {
            const uint4* at = data + (n & (WORDS - 1));
            asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(word[u].x), "=r"(word[u].y), "=r"(word[u].z), "=r"(word[u].w)
                         : "l"(at));
        }
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) total += word[u].x + word[u].y + word[u].z + word[u].w;
    }
    add_to(sum, total);
}
