// The same work with fewer and fewer registers: what occupancy gains, and what spilling costs.
//
// A thread keeps LIVE = 160 values and rewrites each of them every round, one FMA apiece: about 168 registers. A multiprocessor has
// 65536: with R a thread, 65536 / (128 * R) blocks of 128 threads are resident: 16, 8, 5, 4, 3 for caps of 32, 64, 96, 128 and
// 168; a cap of 255 changes nothing more, since a kernel is given no more than it needs. Hypothesis: 160 independent FMAs need no
// other warps to hide behind (see occupancy_ilp.cu), so that the fewest blocks are the fastest; below 168 registers what does not
// fit is stored and loaded again every round. Prediction, cycles a round and warp of a multiprocessor: the larger of LIVE/4 = 40 and two
// for each register that lacks, a store and a load: 40 from 168 on, then 80, 144, 208, and 272 at 32 registers.
//@ entry: register_pressure
//@ arch: sm_90a
//@ param: REGISTERS=168 LIVE=160 THREADS=128
//@ variant: r32 REGISTERS=32
//@ variant: r64 REGISTERS=64
//@ variant: r96 REGISTERS=96
//@ variant: r128 REGISTERS=128
//@ variant: r255 REGISTERS=255
//@ threads: THREADS
//@ grid: SMS*16
//@ args: in out resident ROUNDS
//@ spills: yes
//@ expect: sm_90a FFMA>=160

#include "micro.h"

// `resident` counts, for each multiprocessor, the blocks that run on it now, and in its second half the most that ever did.
KERNEL void __maxnreg__(REGISTERS)
register_pressure(GLOBAL(const float) in, GLOBAL(float) out, GLOBAL(int) resident, int ROUNDS) {
    unsigned here, all;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(here));
    asm volatile("mov.u32 %0, %%nsmid;" : "=r"(all));
    if (threadIdx.x == 0) atomicMax(resident + all + here, atomicAdd(resident + here, 1) + 1);
    float x[LIVE];
#pragma unroll
    for (int i = 0; i < LIVE; ++i) x[i] = in[i * THREADS + threadIdx.x];
#pragma unroll 1
    for (int round = 0; round < ROUNDS; ++round) {
#pragma unroll
        for (int i = 0; i < LIVE; ++i) x[i] = fmaf(x[(i + 1) % LIVE], 0.5f, 0.25f);
    }
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(resident + here, -1);
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < LIVE; ++i) total += x[i];
    out[blockIdx.x * THREADS + threadIdx.x] = total;
}
