// What Hopper adds, a line each: mbarriers, the tensor memory accelerator (TMA), warpgroup ordering, clusters, dependent launches.
// Semantics: PTX ISA 8.0 and later, sections on mbarrier, cp.async.bulk.tensor, wgmma, setmaxnreg, griddepcontrol.
#pragma once
#include "gpu.h"

typedef unsigned int u32;
typedef unsigned long long u64;

// A tensor map: written by the driver, passed by value as a __grid_constant__ parameter.
struct alignas(64) TensorMap {
    u64 opaque[16];
};
#define MAP const __grid_constant__ TensorMap

DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
// Loads by such an address.
DEVICE u32 load_shared(u32 address) {
    u32 word;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(address) : "memory");
    return word;
}
DEVICE void load_shared(u32 address, u32 (&words)[4]) {
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(address) : "memory");
}

// ---- mbarrier: a phase ends when `count` threads have arrived and all announced bytes have landed.
DEVICE void barrier_init(u64* barrier, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count));
}
// Makes the initialised barriers visible to the TMA unit and to the cluster.
DEVICE void barrier_init_done() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEVICE void barrier_expect(u64* barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
DEVICE void barrier_arrive(u64* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives at the barrier of the same place in block `rank` of the cluster. Without `.release.cluster`: that makes the compiler put a
// MEMBAR.ALL.GPU before every arrival, in the loop that everything waits for; what is handed back here was only read.
DEVICE void barrier_arrive_at(u64* barrier, u32 rank) {
    asm volatile("{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(shared_address(barrier)), "r"(rank) : "memory");
}
// Lanes of a warp that give a stage back for all of it: one will do, behind a __syncwarp. compute-sanitizer's racecheck takes the reads of the
// others for races, as if it knew only what the arriving lane has done; where all 32 arrive it reports none.
#ifndef GIVERS
#define GIVERS 1
#endif
// A warp gives back what all its lanes have read, if there is any, to its own block or to each of a cluster of BLOCKS.
template <int BLOCKS = 1> DEVICE void give_back(u64* empty, int lane, bool any = true) {
    __syncwarp();
#pragma unroll
    for (int at = 0; at < GIVERS * BLOCKS; at += 32)
        if (any && at + lane < GIVERS * BLOCKS) BLOCKS == 1 ? barrier_arrive(empty) : barrier_arrive_at(empty, (at + lane) / GIVERS);
}
DEVICE void barrier_wait(u64* barrier, int parity) {
    asm volatile("{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra again;\n}"
                 ::"r"(shared_address(barrier)), "r"(parity) : "memory");
}
// A block barrier of its own number for `threads` threads.
DEVICE void named_barrier(int number, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory"); }
// Counts for such a barrier without waiting at it.
DEVICE void named_arrive(int number, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory"); }

// ---- the warp that feeds the others
// A value that all lanes have, said so: the compiler keeps it, and what is computed from it, in uniform registers.
DEVICE u32 warp_uniform(u32 value) { return __shfl_sync(0xffffffffu, value, 0); }
// Whether this lane is the one that acts for the warp, whose lanes are all here. A TMA instruction behind `elect.sync`, with addresses in
// uniform registers, is one instruction. Behind a comparison of threadIdx.x the compiler moves every operand there each time, from a lane
// that it looks for in a loop: a loader spent more time on that than the tensor cores on a narrow tile.
DEVICE bool elect_one() {
    u32 elected;
    asm volatile("{\n.reg .pred one;\nelect.sync _|one, 0xffffffff;\nselp.u32 %0, 1, 0, one;\n}" : "=r"(elected));
    return elected;
}

// Where a thread is in a ring of N stages. A barrier's phase bit flips each time round; the producer waits for the bit before.
template <int N> struct Ring {
    int stage = 0, phase = 0;
    MEMBER void next() {
        if (++stage == N) stage = 0, phase ^= 1;
    }
    // Passes over `count` stages that another thread deals with.
    MEMBER void skip(int count) {
        stage += count;
        phase ^= stage / N & 1;
        stage %= N;
    }
};

// The end of a producer whose stages other blocks of the cluster give back too: a block's barriers stay until nobody will arrive at them.
template <int N> DEVICE void await_all(Ring<N> ring, u64* empty) {
    for (int s = 0; s < N; ++s, ring.next()) barrier_wait(empty + ring.stage, ring.phase ^ 1);
}

// ---- TMA: one thread moves a box; coordinates count elements, innermost first.
DEVICE u64 evict_first() {
    u64 policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
DEVICE u64 evict_last() {
    u64 policy;
    asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
DEVICE void tma_prefetch(const TensorMap& map) { asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory"); }
DEVICE void tma_load(void* to, const TensorMap& map, u64* barrier, int x, int y, u64 policy) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%3, %4}], [%2], %5;"
                 ::"r"(shared_address(to)), "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y), "l"(policy) : "memory");
}
DEVICE void tma_load(void* to, const TensorMap& map, u64* barrier, int x, int y, int z, u64 policy) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%3, %4, %5}], [%2], %6;"
                 ::"r"(shared_address(to)), "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z), "l"(policy) : "memory");
}
// Without a policy. Not one that says evict_normal: with it the same loads are slower.
DEVICE void tma_load(void* to, const TensorMap& map, u64* barrier, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 ::"r"(shared_address(to)), "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y) : "memory");
}
// Only as far as L2.
DEVICE void tma_to_l2(const TensorMap& map, int x, int y) {
    asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" ::"l"(&map), "r"(x), "r"(y) : "memory");
}
// The same bytes to the same place in every block of `mask`, each block's own barrier told.
DEVICE void tma_load_multicast(void* to, const TensorMap& map, u64* barrier, int x, int y, unsigned short mask) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
                 "[%0], [%1, {%3, %4}], [%2], %5;"
                 ::"r"(shared_address(to)), "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y), "h"(mask) : "memory");
}
// `bytes` contiguous bytes, with no map: a multiple of 16, from and to addresses that are.
DEVICE void bulk_load(void* to, const void* from, int bytes, u64* barrier, u64 policy) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;"
                 ::"r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(barrier)), "l"(policy) : "memory");
}
DEVICE void tma_store(const TensorMap& map, const void* from, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];"
                 ::"l"(&map), "r"(shared_address(from)), "r"(x), "r"(y) : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
// Until at most N stores still read shared memory.
template <int N> DEVICE void tma_store_wait() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory"); }
// Ordinary stores to shared memory before, the TMA unit's and the tensor cores' reads after.
DEVICE void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- wgmma's order: fence, instructions, commit, wait. Nothing touches the accumulators in between.
DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
// Descriptor of a K-major operand in shared memory: rows of 128 bytes, 128-byte swizzle, 1024 bytes from 8 rows to the next 8.
// 32 bytes further along k is 2 more.
DEVICE u64 operand(const void* p) {
    return (u64)((shared_address(p) & 0x3FFFF) >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

// The low word of an operand's descriptor, the same in all lanes and said so: the compiler keeps it in uniform registers, and a step along the
// operand is one addition there. `stepped` makes it a descriptor.
DEVICE u32 uniform_operand(const void* p) { return __shfl_sync(0xffffffffu, (u32)operand(p), 0); }
DEVICE u64 stepped(u32 operand, int step) { return (u64)0x40000040 << 32 | (operand + step); }

// ---- registers, clusters, dependent launches
template <int N> DEVICE void registers_give() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> DEVICE void registers_take() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
DEVICE u32 cluster_rank() {
    u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
DEVICE void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
// Without making what was written before visible, for which `cluster_sync` takes a MEMBAR.ALL.GPU. After `barrier_init_done` it is enough.
DEVICE void cluster_meet() { asm volatile("barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait.acquire;" ::: "memory"); }
// The next kernel on the stream may start; its `previous_done` still waits for this one's end.
DEVICE void allow_next() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }
DEVICE void previous_done() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

// ---- epilogue pieces
DEVICE u32 pack_bf16(float low, float high) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
DEVICE u32 pack_e4m3(float low, float high) {
    unsigned short pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
    return pair;
}
// Stores four 8x8 matrices of 16-bit elements; lane 8*i + r holds the address of row r of matrix i.
DEVICE void store_matrices(void* row, u32 a, u32 b, u32 c, u32 d) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 ::"r"(shared_address(row)), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}
DEVICE void store_matrices_transposed(void* row, u32 a, u32 b, u32 c, u32 d) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};"
                 ::"r"(shared_address(row)), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}
DEVICE void store_matrices_transposed(void* row, u32 a, u32 b) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(row)), "r"(a), "r"(b) : "memory");
}
// Loads them: a thread gets what it would have given to be stored.
DEVICE void load_matrices(u32 row, u32 (&m)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3]) : "r"(row) : "memory");
}
DEVICE void load_matrices(const void* row, u32 (&m)[4]) { load_matrices(shared_address(row), m); }
DEVICE void load_matrices_transposed(const void* row, u32 (&m)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3]) : "r"(shared_address(row)) : "memory");
}
