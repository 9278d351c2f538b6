// How fast memory is read when nothing is written: the ceiling for decoding, which reads weights and writes next to nothing.
//
// Hypothesis: the bus never turns round, so that reading is a little faster than copying. Prediction: 4.8 TB/s less 8%: 4.4 TB/s.
// The compiler adds as it loads, so that a thread has two to four of its eight loads in flight: 64 KB a multiprocessor at least, where
// 23 KB cover the latency. The blocks stay (eight a multiprocessor) and stride through the array, so that the sum costs one atomic a
// warp and not one a tile.
//@ entry: read_sum
//@ arch: sm_80 sm_90a sm_100a
//@ param: THREADS=256 UNROLL=8 BLOCKS=8
//@ threads: THREADS
//@ grid: SMS*BLOCKS
//@ args: data sum N
//@ expect: sm_90a LDG.E.128>=8

#include "micro.h"

// N words of 16 bytes.
KERNEL void read_sum(GLOBAL(const uint4) data, GLOBAL(unsigned) sum, int N) {
    int step = gridDim.x * THREADS;
    unsigned total = 0;
    for (int first = blockIdx.x * THREADS + threadIdx.x; first < N; first += step * UNROLL) {
        uint4 word[UNROLL];
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            word[u] = make_uint4(0, 0, 0, 0);
            if (first + u * step < N) word[u] = data[first + u * step];
        }
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) total += word[u].x + word[u].y + word[u].z + word[u].w;
    }
    add_to(sum, total);
}
