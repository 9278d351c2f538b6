// k14: clusters of two blocks, which share a tile of B.
//
// Changes k13: two blocks on neighbouring multiprocessors compute tiles that lie one above the other, and need the same columns of B. Each asks for
// half of them and the TMA unit writes it to the same place in both (multicast). So a stage may be overwritten only when the consumers
// of *both* blocks have read it: `empty` counts 2 * CONSUMERS arrivals, half of them from the other block. `full` stays a block's own: it
// counts bytes, from whichever block's request they come.
// Gain: from L2 a block takes (128 + 128) * 128 bytes a step instead of (128 + 256) * 128: a third less, for the same products.
// Clusters of 4 would gain less, (128 + 64) * 128, and wait longer for the slowest of 4 blocks.
//@ entry: gemm_cluster
//@ arch: sm_90a
//@ param: BM=128 BN=256 STAGES=4 GROUP=8 CL=2
//@ variant: four CL=4 GROUP=4
//@ threads: 384
//@ cluster: CL
//@ smem: 1024 + STAGES*(BM+BN)*128
//@ grid: min(SMS/CL,cdiv(M,BM*CL)*cdiv(N,BN))*CL
//@ map a: bf16 [M, K] box [BM, 64]
//@ map b: bf16 [N, K] box [BN/CL, 64]
//@ args: a b c M N K
//@ expect: sm_90a HGMMA.64x>=4 UTMALDG.2D>=2 UTMALDG.2D.MULTICAST>=1 USETMAXREG>=2

#include "wgmma.h"
#include "stream_k.h"
#include "direct.h"

#define CONSUMERS (BM / 64)  // warpgroups that multiply, 64 rows each
#define A_BYTES (BM * 128)
#define B_BYTES (BN * 128)

KERNEL void __launch_bounds__(CONSUMERS * 128 + 128) gemm_cluster(MAP a, MAP b, unsigned short* c, int M, int N, int K) {
    extern __shared__ unsigned char raw[];
    unsigned char* a_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* b_tiles = a_tiles + STAGES * A_BYTES;
    __shared__ u64 full[STAGES], empty[STAGES];
    const int tiles_m = (M + BM * CL - 1) / (BM * CL), tiles_n = (N + BN - 1) / BN, tiles = tiles_m * tiles_n;
    const int ksteps = (K + 63) / 64, group = threadIdx.x / 128, rank = cluster_rank();
    int tm, tn;  // where the cluster's present tile lies

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1), barrier_init(empty + s, CONSUMERS * CL);
        barrier_init_done();
    }
    cluster_sync();

    Ring<STAGES> ring;
    if (group == CONSUMERS) {  // the producer: one thread fills the ring
        registers_give<40>();
        if (threadIdx.x == CONSUMERS * 128) {
            for (int tile = blockIdx.x / CL; tile < tiles; tile += gridDim.x / CL) {
                tile_place(tile, tiles_m, tiles_n, GROUP, tm, tn);
                for (int k = 0; k < ksteps; ++k, ring.next()) {
                    barrier_wait(empty + ring.stage, ring.phase ^ 1);
                    barrier_expect(full + ring.stage, A_BYTES + B_BYTES);
                    tma_load(a_tiles + ring.stage * A_BYTES, a, full + ring.stage, k * 64, (tm * CL + rank) * BM);
                    tma_load_multicast(b_tiles + ring.stage * B_BYTES + rank * (B_BYTES / CL), b, full + ring.stage, k * 64,
                                       tn * BN + rank * (BN / CL), (1 << CL) - 1);
                }
            }
        }
    } else {  // a consumer warpgroup
        registers_take<232>();
        const int thread = threadIdx.x % 128;
        Accumulator sum[BN / 2];
        for (int tile = blockIdx.x / CL; tile < tiles; tile += gridDim.x / CL) {
            int before = -1;
            for (int k = 0; k < ksteps; ++k, ring.next()) {
                barrier_wait(full + ring.stage, ring.phase);
                const u64 rows = operand(a_tiles + ring.stage * A_BYTES + group * 64 * 128), columns = operand(b_tiles + ring.stage * B_BYTES);
                wgmma_fence();
#pragma unroll
                for (int step = 0; step < 4; ++step) wgmma<BN>(sum, rows + step * 2, columns + step * 2, k + step > 0);
                wgmma_commit();
                wgmma_wait<1>();  // the products of the stage before have read their operands
                if (before >= 0 && thread < CL) barrier_arrive_at(empty + before, thread);
                before = ring.stage;
            }
            wgmma_wait<0>();
            if (thread < CL) barrier_arrive_at(empty + before, thread);
            tile_place(tile, tiles_m, tiles_n, GROUP, tm, tn);
            store_direct<BN>(sum, c, (tm * CL + rank) * BM + group * 64, tn * BN, M, N, thread);
        }
    }
    cluster_sync();  // a block's barriers stay until no block of the cluster arrives at them
}
