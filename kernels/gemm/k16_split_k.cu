// k16: split-K, for products of few tiles.
//
// Changes k15: a unit of work is a tile's part of K, one of SPLIT. Each unit leaves f32 sums in a workspace and counts itself; the last to arrive
// at a tile reads the sums of all its parts, adds them in order of k, so that results repeat, stores, and sets the counter back.
// Gain: 256 x 4096 x 14336 is 16 tiles of 256 x 256, for 66 clusters; with SPLIT = 4 there are 64 units, and each takes a quarter of the time.
// Price: SPLIT times the tile in f32 written and read again, 16 * 4 * 256 KB = 17 MB each way, mostly within L2; and the parts of the last
// wave are again as long as all the others, whatever SPLIT is. k17 takes both off: it shares only the tiles of the last wave, cuts them
// where workers end, and only whoever does not own a tile leaves sums.
// `sums` holds M x N (rounded up to tiles) x SPLIT values, `counts` BM / 64 zeros for each tile of a block.
//@ entry: gemm_split_k
//@ arch: sm_90a
//@ param: BM=128 BN=256 STAGES=4 GROUP=8 CL=2
//@ threads: 384
//@ cluster: CL
//@ smem: 1024 + STAGES*(BM+BN)*128 + BM*256
//@ grid: min(SMS/CL,cdiv(M,BM*CL)*cdiv(N,BN)*SPLIT)*CL
//@ map a: bf16 [M, K] box [BM, 64]
//@ map b: bf16 [N, K] box [BN/CL, 64]
//@ map c: bf16 [M, N] box [64, 64]
//@ args: a b c sums counts M N K SPLIT
//@ expect: sm_90a HGMMA.64x>=4 UTMALDG.2D>=2 UTMALDG.2D.MULTICAST>=1 STSM>=16 UTMASTG>=4 ATOM>=1

#include "wgmma.h"
#include "stream_k.h"
#include "epilogue_tma.h"

#define CONSUMERS (BM / 64)  // warpgroups that multiply, 64 rows each
#define A_BYTES (BM * 128)
#define B_BYTES (BN * 128)

// Leaves a part's sums and says whether it was the last of its tile; then `sum` holds the sum over all parts. `slot` is the first part's.
DEVICE bool last_to_arrive(float (&sum)[BN / 2], float* slot, long long stride, int part, int split, int* count, int thread, int barrier) {
    __shared__ int arrived[CONSUMERS];
#pragma unroll
    for (int i = 0; i < BN / 2; i += 4)
        reinterpret_cast<Four<float>*>(slot + part * stride)[i * 32 + thread] = {{sum[i], sum[i + 1], sum[i + 2], sum[i + 3]}};
    __threadfence();  // a part's sums are seen before it is counted
    named_barrier(barrier, 128);
    if (thread == 0) arrived[barrier - 1] = atomicAdd(count, 1);
    named_barrier(barrier, 128);
    if (arrived[barrier - 1] != split - 1) return false;
    __threadfence();
    if (thread == 0) *count = 0;  // for the next launch
#pragma unroll
    for (int i = 0; i < BN / 2; ++i) sum[i] = 0.0f;
    for (int s = 0; s < split; ++s) add_sums(sum, slot + s * stride, thread);
    return true;
}

KERNEL void __launch_bounds__(CONSUMERS * 128 + 128) gemm_split_k(MAP a, MAP b, MAP c, float* sums, int* counts, int M, int N, int K,
                                                                          int split) {
    extern __shared__ unsigned char raw[];
    unsigned char* a_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* b_tiles = a_tiles + STAGES * A_BYTES;
    unsigned char* staging = b_tiles + STAGES * B_BYTES;  // two pieces of 64 x 64 for each consumer
    __shared__ u64 full[STAGES], empty[STAGES];
    const int tiles_m = (M + BM * CL - 1) / (BM * CL), tiles_n = (N + BN - 1) / BN, tiles = tiles_m * tiles_n;
    const int ksteps = (K + 63) / 64, group = threadIdx.x / 128, rank = cluster_rank();
    split = min(split, ksteps);  // no part is empty
    const int units = tiles * split;
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
            for (int unit = blockIdx.x / CL; unit < units; unit += gridDim.x / CL) {
                const int part = unit / tiles, begin = ksteps * part / split, end = ksteps * (part + 1) / split;
                tile_place(unit % tiles, tiles_m, tiles_n, GROUP, tm, tn);
                for (int k = begin; k < end; ++k, ring.next()) {
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
        int turn = 0;
        for (int unit = blockIdx.x / CL; unit < units; unit += gridDim.x / CL) {
            const int tile = unit % tiles, part = unit / tiles, begin = ksteps * part / split, end = ksteps * (part + 1) / split;
            int before = -1;
            for (int k = begin; k < end; ++k, ring.next()) {
                barrier_wait(full + ring.stage, ring.phase);
                const u64 rows = operand(a_tiles + ring.stage * A_BYTES + group * 64 * 128), columns = operand(b_tiles + ring.stage * B_BYTES);
                wgmma_fence();
#pragma unroll
                for (int step = 0; step < 4; ++step) wgmma<BN>(sum, rows + step * 2, columns + step * 2, k > begin || step > 0);
                wgmma_commit();
                wgmma_wait<1>();  // the products of the stage before have read their operands
                if (before >= 0 && thread < CL) barrier_arrive_at(empty + before, thread);
                before = ring.stage;
            }
            wgmma_wait<0>();
            if (thread < CL) barrier_arrive_at(empty + before, thread);
            const int slot = (tile * CL + rank) * CONSUMERS + group;
            if (split > 1 && !last_to_arrive(sum, sums + (long long)slot * 64 * BN, (long long)tiles * CL * BM * BN, part, split, counts + slot,
                                             thread, 1 + group))
                continue;
            tile_place(tile, tiles_m, tiles_n, GROUP, tm, tn);
            store_tile_tma<BN>(sum, c, staging + group * 2 * 64 * 128, (tm * CL + rank) * BM + group * 64, tn * BN, thread, 1 + group, turn);
        }
        if (thread == 0) tma_store_wait<0>();
    }
    cluster_sync();  // a block's barriers stay until no block of the cluster arrives at them
}
