// k10: a ring of stages, and a larger tile.
//
// Changes k09: two warpgroups share a tile of 128 x 128, 64 rows each, and STAGES pairs of tiles have places of their own in shared memory: while one
// is multiplied, the TMA unit fills the others. A stage is asked for again as soon as both warpgroups have read it.
// Gain: the wait for memory, the largest part of a step in k09, is taken STAGES - 1 steps ahead. A tile of 128 x 128 wants (128 + 128) * 128
// bytes for 128 * 128 * 64 products, 32 for one byte, where 64 x 128 gives 21: a third fewer bytes from L2.
// Variant `two`: with 3 stages two blocks share a multiprocessor, and one multiplies while the other waits.
// What it leaves: the block barrier of each step, at which the tensor cores run dry, and thread 0, which all wait for while it asks for more.
//@ entry: gemm_ring
//@ arch: sm_90a
//@ param: BM=128 BN=128 STAGES=4
//@ variant: two STAGES=3
//@ threads: 256
//@ smem: 1024 + STAGES*(BM+BN)*128
//@ grid: cdiv(M,BM), cdiv(N,BN)
//@ map a: bf16 [M, K] box [BM, 64]
//@ map b: bf16 [N, K] box [BN, 64]
//@ args: a b c M N K
//@ expect: sm_90a HGMMA.64x>=4 UTMALDG.2D>=2

#include "wgmma.h"
#include "direct.h"

#define A_BYTES (BM * 128)
#define B_BYTES (BN * 128)

KERNEL void __launch_bounds__(256) gemm_ring(MAP a, MAP b, unsigned short* c, int M, int N, int K) {
    extern __shared__ unsigned char raw[];
    unsigned char* a_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* b_tiles = a_tiles + STAGES * A_BYTES;
    __shared__ u64 full[STAGES];
    const int row0 = blockIdx.x * BM, col0 = blockIdx.y * BN, ksteps = (K + 63) / 64, group = threadIdx.x / 128;

    auto load = [&](int k) {
        const int slot = k % STAGES;
        barrier_expect(full + slot, A_BYTES + B_BYTES);
        tma_load(a_tiles + slot * A_BYTES, a, full + slot, k * 64, row0);
        tma_load(b_tiles + slot * B_BYTES, b, full + slot, k * 64, col0);
    };
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1);
        barrier_init_done();
        for (int k = 0; k < min(STAGES, ksteps); ++k) load(k);
    }
    __syncthreads();

    Ring<STAGES> ring;
    Accumulator sum[BN / 2];
    for (int k = 0; k < ksteps; ++k, ring.next()) {
        barrier_wait(full + ring.stage, ring.phase);
        const u64 rows = operand(a_tiles + ring.stage * A_BYTES + group * 64 * 128), columns = operand(b_tiles + ring.stage * B_BYTES);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < 4; ++step) wgmma<BN>(sum, rows + step * 2, columns + step * 2, k + step > 0);
        wgmma_commit();
        wgmma_wait<0>();
        __syncthreads();  // both warpgroups have read the stage
        if (threadIdx.x == 0 && k + STAGES < ksteps) load(k + STAGES);
    }
    store_direct<BN>(sum, c, row0 + group * 64, col0, M, N, threadIdx.x % 128);
}
