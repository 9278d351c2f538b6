// From global to shared memory three ways, by the bytes that are under way at a time.
//
// METHOD 0: loads into registers, then stores; 1: `cp.async`, 16 bytes a thread; 2: the copy engine (`cp.async.bulk`), 4 KB an
// instruction. A block a multiprocessor keeps STAGES chunks of 4 KB in flight. Little's law: bytes a second are bytes in flight over
// latency. With 700 ns under load, 132 multiprocessors with 4, 8 and 16 KB make 0.77, 1.5 and 3.1 TB/s; 23 KB reach the ceiling of
// 4.4 TB/s, so 32 KB and more should all read that. Prediction: methods 1 and 2 lie on that line; method 0 below it, since it waits
// for all of its B bytes before it asks for the next: B / (700 ns + B / 33 bytes a ns) a multiprocessor, 0.66 TB/s at 4 KB and
// 3.7 at 128 KB, where the data under way fill 128 registers a thread.
//@ entry: cp_async
//@ arch: sm_90a
//@ param: METHOD=2 STAGES=8 THREADS=256
//@ variant: plain METHOD=0
//@ variant: plain32 METHOD=0 STAGES=32
//@ variant: async METHOD=1 STAGES=16
//@ variant: deep METHOD=2 STAGES=32
//@ threads: THREADS
//@ smem: STAGES*THREADS*16
//@ grid: SMS
//@ args: data sum CHUNKS
//@ expect: sm_90a LDS.128>=1

#include "micro.h"

extern __shared__ __align__(128) uint4 ring[]; // [STAGES, THREADS]

// What a thread finds in its 16 bytes of a stage.
DEVICE unsigned take(int stage) {
    uint4 word;
    asm volatile("ld.volatile.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(word.x), "=r"(word.y), "=r"(word.z), "=r"(word.w)
                 : "r"(shared_address(ring + stage * THREADS + threadIdx.x))
                 : "memory");
    return word.x + word.y + word.z + word.w;
}

#if METHOD == 2
__shared__ u64 full[STAGES];

// Waits for a stage's chunk; a chunk that never comes ends the kernel with an error and not the run with a hang.
DEVICE void wait(int stage, unsigned parity) {
#pragma unroll 1
    for (int tries = 0; tries < 1 << 20; ++tries) {
        unsigned done;
        asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                     : "=r"(done)
                     : "r"(shared_address(full + stage)), "r"(parity)
                     : "memory");
        if (done) return;
    }
    __trap();
}
#endif

#if METHOD > 0
// Asks for a chunk: each thread for its own 16 bytes, or the first thread for all 4 KB.
DEVICE void ask(int stage, GLOBAL(const uint4) chunk) {
#if METHOD == 1
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 : : "r"(shared_address(ring + stage * THREADS + threadIdx.x)), "l"(chunk + threadIdx.x) : "memory");
#elif METHOD == 2
    if (threadIdx.x > 0) return;
    unsigned barrier = shared_address(full + stage);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" : : "r"(barrier), "n"(THREADS * 16) : "memory");
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 : : "r"(shared_address(ring + stage * THREADS)), "l"(chunk), "n"(THREADS * 16), "r"(barrier) : "memory");
#endif
}
#endif

// Block b takes the chunks b, b + blocks, ... of CHUNKS.
KERNEL void __launch_bounds__(THREADS, 1) cp_async(GLOBAL(const uint4) data, GLOBAL(unsigned) sum, int CHUNKS) {
    int count = (CHUNKS - (int)blockIdx.x + (int)gridDim.x - 1) / (int)gridDim.x;
    unsigned total = 0;
    auto chunk = [&](int i) { return data + ((u64)i * gridDim.x + blockIdx.x) * THREADS; };
#if METHOD == 0
    for (int i = 0; i < count; i += STAGES) {
        uint4 word[STAGES];
#pragma unroll
        for (int s = 0; s < STAGES; ++s) {
            word[s] = make_uint4(0, 0, 0, 0);
            if (i + s < count) word[s] = chunk(i + s)[threadIdx.x];
        }
        __syncthreads(); // holds the compiler to it: all loads before the first store
#pragma unroll
        for (int s = 0; s < STAGES; ++s) ring[s * THREADS + threadIdx.x] = word[s];
#pragma unroll
        for (int s = 0; s < STAGES; ++s) total += take(s);
    }
#else
#if METHOD == 2
    if (threadIdx.x == 0)
        for (int s = 0; s < STAGES; ++s)
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" : : "r"(shared_address(full + s)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" : : : "memory");
    __syncthreads();
#endif
#pragma unroll 1
    for (int i = 0; i < count + STAGES; ++i) {
        int stage = i % STAGES;
        if (i >= STAGES) {
#if METHOD == 1
            asm volatile("cp.async.wait_group %0;" : : "n"(STAGES - 1) : "memory");
            total += take(stage);
#else
            wait(stage, (i / STAGES - 1) % 2);
            total += take(stage);
            __syncthreads(); // nobody reads the stage any more
#endif
        }
        if (i < count) ask(stage, chunk(i));
#if METHOD == 1
        asm volatile("cp.async.commit_group;" : : : "memory");
#endif
    }
#endif
    add_to(sum, total);
}
