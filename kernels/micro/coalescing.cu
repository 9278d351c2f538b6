// What a stride costs in global memory.
//
// Neighbouring threads read 4-byte words that lie STRIDE words apart. Memory comes in sectors of 32 bytes: at stride 8 each sector
// gives one useful word. Prediction: useful bytes at 4.4 TB/s over min(STRIDE, 8): 4400, 2200, 1100, 550 GB/s, then level; or half
// of that from stride 16 on, if what is fetched from memory into the L2 is 64 bytes and not 32.
//@ entry: coalescing
//@ arch: sm_80 sm_90a sm_100a
//@ param: THREADS=256 UNROLL=16
//@ threads: THREADS
//@ grid: cdiv(N,THREADS*UNROLL)
//@ args: data sum N STRIDE
//@ expect: sm_90a LDG>=16

#include "micro.h"

// Sums the words 0, STRIDE, 2*STRIDE, ...: N of them.
KERNEL void coalescing(GLOBAL(const unsigned) data, GLOBAL(unsigned) sum, int N, int STRIDE) {
    int first = blockIdx.x * THREADS * UNROLL + threadIdx.x;
    unsigned word[UNROLL], total = 0;
#pragma unroll
    for (int u = 0; u < UNROLL; ++u) {
        int n = first + u * THREADS;
        word[u] = n < N ? data[(u64)n * STRIDE] : 0;
    }
#pragma unroll
    for (int u = 0; u < UNROLL; ++u) total += word[u];
    // One atomic a warp would be as many as sectors at large strides: add within the block first.
    SHARED(unsigned, block, 1);
    if (threadIdx.x == 0) block[0] = 0;
    __syncthreads();
    add_to(block, total);
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(sum, block[0]);
}
