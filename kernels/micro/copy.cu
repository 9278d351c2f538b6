// How fast memory is copied: the ceiling for everything that streams.
//
// Hypothesis: 16 bytes a thread and four loads before the first store keep enough bytes in flight (2048 threads * 64 bytes = 128 KB
// a multiprocessor, where 23 KB cover the latency), so that the memory's pins are the limit. Prediction: 4.8 TB/s by the data
// sheet, less a tenth for refresh and for turning the bus from reading to writing: 4.3 TB/s, bytes read and written counted. At
// 32 MB the 64 MB take 15 us, of which about 2 us are the launch's ramp and tail: 3.8 TB/s.
//@ entry: copy
//@ arch: sm_80 sm_90a sm_100a
//@ param: THREADS=256 UNROLL=4
//@ threads: THREADS
//@ grid: cdiv(N,THREADS*UNROLL)
//@ args: from to N
//@ expect: sm_90a LDG.E.128>=4 STG.E.128>=4

#include "micro.h"

// N words of 16 bytes.
KERNEL void copy(GLOBAL(const uint4) from, GLOBAL(uint4) to, int N) {
    int first = blockIdx.x * THREADS * UNROLL + threadIdx.x;
    uint4 word[UNROLL];
#pragma unroll
    for (int u = 0; u < UNROLL; ++u)
        if (first + u * THREADS < N) word[u] = from[first + u * THREADS];
#pragma unroll
    for (int u = 0; u < UNROLL; ++u)
        if (first + u * THREADS < N) to[first + u * THREADS] = word[u];
}
