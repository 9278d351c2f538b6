// k13: persistent blocks, in an order that L2 likes.
//
// Changes k12: one block a multiprocessor for the whole launch, each going from tile to tile: blockIdx.x, + gridDim.x, ... The producer does not
// wait for the end of a tile: it fills the ring for the next one while the consumers still store the last. Tiles that run at the same
// time lie in a patch of GROUP tiles along M by as many as remain along N.
// Gain: between two tiles of a multiprocessor, k12 stores sums, ends a block, starts one, sets up its barriers and waits for the first bytes,
// beside 36 us of products for K = 4096; here only the store is left of it. And L2: 132 tiles at once in a patch of 16 x 8 read
// 16 * 128 + 8 * 256 = 4096 rows of A and B, where one column of tiles after another reads 64 * 128 + 2 * 256 = 8704 for M = 8192.
// Variant `column` has that order.
//@ entry: gemm_persistent
//@ arch: sm_90a
//@ param: BM=128 BN=256 STAGES=4 GROUP=16
//@ variant: column GROUP=65536
//@ threads: 384
//@ smem: 1024 + STAGES*(BM+BN)*128
//@ grid: min(SMS,cdiv(M,BM)*cdiv(N,BN))
//@ map a: bf16 [M, K] box [BM, 64]
//@ map b: bf16 [N, K] box [BN, 64]
//@ args: a b c M N K
//@ expect: sm_90a HGMMA.64x>=4 UTMALDG.2D>=2 USETMAXREG>=2

#include "wgmma.h"
#include "stream_k.h"
#include "direct.h"

#define CONSUMERS (BM / 64)  // warpgroups that multiply, 64 rows each
#define A_BYTES (BM * 128)
#define B_BYTES (BN * 128)

KERNEL void __launch_bounds__(CONSUMERS * 128 + 128) gemm_persistent(MAP a, MAP b, unsigned short* c, int M, int N, int K) {
    extern __shared__ unsigned char raw[];
    unsigned char* a_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* b_tiles = a_tiles + STAGES * A_BYTES;
    __shared__ u64 full[STAGES], empty[STAGES];
    const int tiles_m = (M + BM - 1) / BM, tiles_n = (N + BN - 1) / BN, tiles = tiles_m * tiles_n;
    const int ksteps = (K + 63) / 64, group = threadIdx.x / 128;
    int tm, tn;  // where the present tile lies

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1), barrier_init(empty + s, CONSUMERS);
        barrier_init_done();
    }
    __syncthreads();

    Ring<STAGES> ring;
    if (group == CONSUMERS) {  // the producer: one thread fills the ring
        registers_give<40>();
        if (threadIdx.x == CONSUMERS * 128) {
            for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
                tile_place(tile, tiles_m, tiles_n, GROUP, tm, tn);
                for (int k = 0; k < ksteps; ++k, ring.next()) {
                    barrier_wait(empty + ring.stage, ring.phase ^ 1);
                    barrier_expect(full + ring.stage, A_BYTES + B_BYTES);
                    tma_load(a_tiles + ring.stage * A_BYTES, a, full + ring.stage, k * 64, tm * BM);
                    tma_load(b_tiles + ring.stage * B_BYTES, b, full + ring.stage, k * 64, tn * BN);
                }
            }
        }
    } else {  // a consumer warpgroup
        registers_take<232>();
        const int thread = threadIdx.x % 128;
        Accumulator sum[BN / 2];
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
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
            if (thread == 0) barrier_arrive(empty + before);
            tile_place(tile, tiles_m, tiles_n, GROUP, tm, tn);
            store_direct<BN>(sum, c, tm * BM + group * 64, tn * BN, M, N, thread);
        }
    }
}
