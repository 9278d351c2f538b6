// k12: registers to those who need them, and a tile of 128 x 256.
//
// Changes k11: a thread of a consumer holds 128 sums instead of 64. 384 threads have 168 registers each at most; the producer, which needs
// few, becomes a whole warpgroup, since only a warpgroup can give registers back, and gives up all but 40, and each consumer takes 232:
// 40 * 128 + 232 * 256 = 64 512 of 65 536.
// Gain: (128 + 256) * 128 bytes for 128 * 256 * 64 products, 43 for one byte instead of 32: a quarter fewer bytes from L2. And an instruction
// of 64 x 256 x 16 reads (64 + 256) * 32 bytes of shared memory in 128 clocks, 80 of 128 a clock, where 64 x 128 takes 96.
// With one consumer of 256 sums a thread instead of two, sums would spill and wgmma be serialised.
//@ entry: gemm_registers
//@ arch: sm_90a
//@ param: BM=128 BN=256 STAGES=4
//@ variant: narrow BN=192
//@ threads: 384
//@ smem: 1024 + STAGES*(BM+BN)*128
//@ grid: cdiv(M,BM), cdiv(N,BN)
//@ map a: bf16 [M, K] box [BM, 64]
//@ map b: bf16 [N, K] box [BN, 64]
//@ args: a b c M N K
//@ expect: sm_90a HGMMA.64x>=4 UTMALDG.2D>=2 USETMAXREG>=2

#include "wgmma.h"
#include "direct.h"

#define CONSUMERS (BM / 64)  // warpgroups that multiply, 64 rows each
#define A_BYTES (BM * 128)
#define B_BYTES (BN * 128)

KERNEL void __launch_bounds__(CONSUMERS * 128 + 128) gemm_registers(MAP a, MAP b, unsigned short* c, int M, int N, int K) {
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
        registers_give<40>();
        if (threadIdx.x == CONSUMERS * 128) {
            for (int k = 0; k < ksteps; ++k, ring.next()) {
                barrier_wait(empty + ring.stage, ring.phase ^ 1);
                barrier_expect(full + ring.stage, A_BYTES + B_BYTES);
                tma_load(a_tiles + ring.stage * A_BYTES, a, full + ring.stage, k * 64, row0);
                tma_load(b_tiles + ring.stage * B_BYTES, b, full + ring.stage, k * 64, col0);
            }
        }
    } else {  // a consumer warpgroup
        registers_take<232>();
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
