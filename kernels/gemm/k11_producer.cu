// k11: a producer.
//
// Changes k10: a warp of its own asks for the tiles, and no block barrier is left. Each stage has two mbarriers: `full` says that its bytes have
// landed, `empty` that both warpgroups have read them. The producer waits for empty stages, a consumer for full ones, neither for the other
// consumer. A consumer leaves its last products under way and hands back the stage before.
// Gain: in k10 the tensor cores stop at each step for a barrier of 256 threads and for the next four instructions to be issued; here one
// warpgroup's products run while the other issues its own, and the queue of each is not empty between its steps.
// An mbarrier's phase bit flips each time round the ring; before the first round the bit before counts as done, so the producer waits for
// phase ^ 1 and finds all stages empty.
//@ entry: gemm_producer
//@ arch: sm_90a
//@ param: BM=128 BN=128 STAGES=6
//@ variant: two STAGES=3
//@ threads: 256+32
//@ smem: 1024 + STAGES*(BM+BN)*128
//@ grid: cdiv(M,BM), cdiv(N,BN)
//@ map a: bf16 [M, K] box [BM, 64]
//@ map b: bf16 [N, K] box [BN, 64]
//@ args: a b c M N K
//@ expect: sm_90a HGMMA.64x>=4 UTMALDG.2D>=2

#include "wgmma.h"
#include "direct.h"

#define CONSUMERS (BM / 64)  // warpgroups that multiply, 64 rows each
#define A_BYTES (BM * 128)
#define B_BYTES (BN * 128)

KERNEL void __launch_bounds__(CONSUMERS * 128 + 32) gemm_producer(MAP a, MAP b, unsigned short* c, int M, int N, int K) {
    extern __shared__ unsigned char raw[];
    unsigned char* a_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* b_tiles = a_tiles + STAGES * A_BYTES;
    __shared__ u64 full[STAGES], empty[STAGES];
    const int row0 = blockIdx.x * BM, col0 = blockIdx.y * BN, ksteps = (K + 63) / 64, group = threadIdx.x / 128;

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1), barrier_init(empty + s, CONSUMERS);
        barrier_init_done();
    }
    __syncthreads();

    Ring<STAGES> ring;
    if (group == CONSUMERS) {  // the producer: one thread fills the ring
        if (threadIdx.x == CONSUMERS * 128) {
            for (int k = 0; k < ksteps; ++k, ring.next()) {
                barrier_wait(empty + ring.stage, ring.phase ^ 1);
                barrier_expect(full + ring.stage, A_BYTES + B_BYTES);
                tma_load(a_tiles + ring.stage * A_BYTES, a, full + ring.stage, k * 64, row0);
                tma_load(b_tiles + ring.stage * B_BYTES, b, full + ring.stage, k * 64, col0);
            }
        }
    } else {  // a consumer warpgroup
        const int thread = threadIdx.x % 128;
        Accumulator sum[BN / 2];
        int before = -1;
        for (int k = 0; k < ksteps; ++k, ring.next()) {
            barrier_wait(full + ring.stage, ring.phase);
            const u64 rows = operand(a_tiles + ring.stage * A_BYTES + group * 64 * 128), columns = operand(b_tiles + ring.stage * B_BYTES);
            wgmma_fence();
#pragma unroll
            for (int step = 0; step < 4; ++step) wgmma<BN>(sum, rows + step * 2, columns + step * 2, k + step > 0);
            wgmma_commit();
            wgmma_wait<1>();  // the products of the stage before have read their operands
            if (before >= 0 && thread == 0) barrier_arrive(empty + before);
            before = ring.stage;
        }
        wgmma_wait<0>();
        store_direct<BN>(sum, c, row0 + group * 64, col0, M, N, thread);
    }
}
