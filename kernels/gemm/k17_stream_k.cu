// k17: the ladder's last step, in one kernel: stream-K, either operand as the tall one, four element types.
//
// C = P * Q^T over k. P is the operand of wgmma's 64 rows, Q the one of its n columns. For many tokens P is the activations; for few (SWAP=1) P
// is the weights and the tokens are the columns: nothing is padded to 64 or 128 tokens, and C is stored transposed. k is cut where whole tiles
// would leave multiprocessors idle (stream_k.h). Weights do not depend on the kernel ahead: their first loads start before it has ended, and with
// OCC=2, two blocks a multiprocessor, the next kernel fills its ring while this one still computes.
// A cluster is CL blocks along P by CR along Q; those of a line share a tile, of which each fetches a part for all (cluster_tiles.h). With
// TURNS=1 two consumer warpgroups take whole tiles in turn instead of halves of one: one multiplies while the other stores. A turn begins when
// the other has seen its last fill and asked for its last products: ring_protocol.rs says why not earlier.
// With KPARTS > 1 the blocks of a larger cluster divide k and add up through each other's shared memory (cluster_sum.h): for few tiles, faster
// than ranges that meet in L2. What the units are told is computed once a warp, in uniform registers: fewer instructions, whose energy the clock
// pays for, and a loader that keeps up with narrow tiles (elect_one).
// EPILOGUE is what follows a layer: bias, GELU, residual, SiLU, quantisation, on the sums in registers (epilogue.h).
// Should gain: at 16 to 256 tokens, the idle part of the last wave (up to half), and the memory system's idle time between launches.
//@ entry: gemm_stream_k
//@ arch: sm_90a
//@ param: BP=128 BQ=256 KS=1 STAGES=4 CL=2 CR=1 SWAP=0 CQ=64 OCC=1 TURNS=0 KPARTS=1 PREFETCH=0 TYPE=0 EB=2 EPILOGUE=0
//@ variant: tokens8 BQ=8 CQ=8 STAGES=6 CL=1 SWAP=1 OCC=2 PREFETCH=2
//@ variant: odd BQ=224 CQ=32
//@ variant: turns BP=64 STAGES=5 TURNS=1
//@ variant: tall_turns BQ=192 STAGES=5 TURNS=1 CQ=32
//@ variant: pairs BQ=128 STAGES=6 CL=1 CR=2 TURNS=1
//@ variant: wide BQ=320 STAGES=3 CQ=32
//@ variant: split BQ=128 STAGES=6 CL=1 KPARTS=2
//@ variant: fp8 TYPE=2 EB=1
//@ variant: int8 TYPE=3 EB=1
//@ variant: gelu EPILOGUE=2
//@ variant: residual EPILOGUE=3
//@ variant: silu8 BQ=8 CQ=8 STAGES=6 CL=1 SWAP=1 OCC=2 EPILOGUE=4
//@ variant: to_fp8 EPILOGUE=5
//@ threads: (BP/64*(1-TURNS)+TURNS*2)*128 + 224-96*OCC
//@ cluster: CL*CR*KPARTS
//@ smem: 1280 + STAGES*(BP+BQ)*KS*128 + (BP/64*(1-TURNS)+TURNS*2)*128*CQ
//@ grid: WORKERS*CL*CR*KPARTS
//@ map p: u8 [P, K*EB] box [BP/CR, 128]
//@ map q: u8 [Q, K*EB] box [BQ/CL, 128]
//@ args: p q c sums flags P Q K PANEL WHOLE alpha scale_p scale_q bias residual out_scale
//@ pdl: yes
//@ expect: sm_90a UTMALDG>=2 STG.E.128>=1 GMMA.64x>=4

#include "wgmma.h"
#include "cluster_sum.h"
#include "cluster_tiles.h"
#include "epilogue.h"

#define CONSUMERS (TURNS ? 2 : BP / 64)  // warpgroups that multiply
#define HEIGHT (TURNS ? BP / 64 : 1)     // blocks of 64 rows that each has of a tile
#define P_BYTES (BP * KS * 128)  // of a stage
#define Q_BYTES (BQ * KS * 128)
#define THREADS (CONSUMERS * 128 + 224 - 96 * OCC)  // and the producer: a warpgroup, or a warp where two blocks must fit

static_assert(!PREFETCH || SWAP, "what is asked for early is P, so P has to be the weights");
// The sums of a warpgroup's block h.
DEVICE Accumulator (&block_of(Accumulator (&sum)[HEIGHT * BQ / 2], int h))[BQ / 2] {
    return reinterpret_cast<Accumulator(&)[BQ / 2]>(sum[h * BQ / 2]);
}

KERNEL void __launch_bounds__(THREADS, OCC) gemm_stream_k(MAP p, MAP q, void* c, Accumulator* sums, int* flags, int P, int Q, int K, int panel, int whole,
                                                          float alpha, const float* scale_p, const float* scale_q,
                                                          const unsigned short* bias, const unsigned short* residual, const float* out_scale) {
    extern __shared__ unsigned char raw[];
    unsigned char* p_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char *q_tiles = p_tiles + STAGES * P_BYTES, *staging = q_tiles + STAGES * Q_BYTES;
    u64 *full = reinterpret_cast<u64*>(staging + CONSUMERS * 128 * CQ), *empty = full + STAGES, *turns = empty + STAGES, *heard = turns + 2;
    const int warp = warp_uniform(threadIdx.x / 32), group = warp / 4;
    const int at = CLUSTER * KPARTS > 1 ? warp_uniform(cluster_rank()) : 0, part_of_k = at / CLUSTER;
    const ClusterPlace where(at);

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1), barrier_init(empty + s, SHARERS * (TURNS ? 1 : CONSUMERS));
        if (TURNS) barrier_init(turns, 1), barrier_init(turns + 1, 1);
        if (KPARTS > 1) expect_shares<KPARTS, CONSUMERS, BQ>(heard, part_of_k);
        barrier_init_done();
        tma_prefetch(p), tma_prefetch(q);
    }
    CLUSTER * KPARTS > 1 ? cluster_meet() : __syncthreads();
    allow_next();

    const int tiles_p = (P + BP * CL - 1) / (BP * CL), tiles_q = (Q + BQ * CR - 1) / (BQ * CR);
    const int ksteps = (K * EB + KS * 128 - 1) / (KS * 128), workers = gridDim.x / (CLUSTER * KPARTS), worker = blockIdx.x / (CLUSTER * KPARTS);
    if (OCC == 2 && without_work(tiles_p * tiles_q, whole, worker)) return;
    constexpr bool MOVE = CONSUMERS == 2 && OCC == 1;  // the consumers need registers that a producer of a whole warpgroup has
    int tp, tq;                                        // where the present tile lies
    Ring<STAGES> ring;

    if (group == CONSUMERS) {  // the producer: one warp fills the ring
        if (MOVE) registers_give<40>();
        if (warp == CONSUMERS * 4) {
            const bool leader = elect_one();
            Schedule schedule(tiles_p * tiles_q, whole, ksteps, worker, workers, part_of_k, KPARTS);
            const u64 tokens = evict_last(), once = evict_first();  // weights of few tokens are read once
            auto load = [&](bool weights, int slot, int k) {
                if (!leader) return;
                if (weights) barrier_expect(full + slot, P_BYTES + Q_BYTES);
                for (int s = 0; s < KS; ++s) {
                    const int x = (k * KS + s) * 128, row = (tp * CL + where.along) * BP, column = (tq * CR + where.across) * BQ;
                    unsigned char *p_to = p_tiles + slot * P_BYTES + s * BP * 128, *q_to = q_tiles + slot * Q_BYTES + s * BQ * 128;
                    weights == SWAP ? load_rows<BP, CR>(p_to, p, full + slot, x, row, where.across, where.column(), once)
                                    : load_rows<BQ, CL>(q_to, q, full + slot, x, column, where.along, where.line(), tokens);
                }
            };
            Schedule ahead = schedule;
            int early = 0;  // stages whose weights were asked for before the kernel ahead had ended, beyond the ring only as far as L2
            while (early < STAGES + PREFETCH && ahead.next(workers)) {
                tile_place(ahead.tile, tiles_p, tiles_q, panel, tp, tq);
                for (int k = ahead.k; k < ahead.k_end && early < STAGES + PREFETCH; ++k, ++early)
                    if (early < STAGES)
                        load(true, early, k);
                    else if (leader)
                        for (int s = 0; s < KS; ++s) tma_to_l2(p, (k * KS + s) * 128, (tp * CL + where.along) * BP);
            }
            early = min(early, STAGES);
            previous_done();
            while (schedule.next(workers)) {
                tile_place(schedule.tile, tiles_p, tiles_q, panel, tp, tq);
                for (int k = schedule.k; k < schedule.k_end; ++k, ring.next()) {
                    if (--early < 0) {
                        barrier_wait(empty + ring.stage, ring.phase ^ 1);
                        load(true, ring.stage, k);
                    }
                    load(false, ring.stage, k);
                }
            }
            if (CLUSTER > 1) await_all(ring, empty);
        }
        if (KPARTS > 1) shares_pass();
    } else {  // a consumer warpgroup
        if (MOVE) registers_take<232>();
        Schedule schedule(tiles_p * tiles_q, whole, ksteps, worker, workers, part_of_k, KPARTS);
        const int thread = threadIdx.x % 128, barrier = 1 + group, part = TURNS ? 0 : group, parts = TURNS ? 1 : CONSUMERS;
        previous_done();
        const u32 sharer = where.sharer(thread);
        const Fused fused = {bias, residual, out_scale};
        Accumulator sum[HEIGHT * BQ / 2];  // of one block of 64 rows after the other
        auto store = [&](auto& share, int column, int block = 0) {
            store_tile<sizeof(share) / 2>(share, c, staging + group * 128 * CQ, (tp * CL + where.along) * BP + (part + block) * 64,
                                          (tq * CR + where.across) * BQ + column, P, Q, alpha, scale_p, scale_q, thread, fused);
        };
        for (int segment = 0; schedule.next(workers); ++segment) {
            if (TURNS && segment % 2 != group) {
                ring.skip(schedule.k_end - schedule.k);
                continue;
            }
            if (TURNS) barrier_wait(turns + group, (segment / 2 % 2) ^ (group == 0));
            int before = -1;
            for (int k = schedule.k; k < schedule.k_end; ++k, ring.next()) {
                barrier_wait(full + ring.stage, ring.phase);
                const u32 rows = uniform_operand(p_tiles + ring.stage * P_BYTES + part * 64 * 128);
                const u32 columns = uniform_operand(q_tiles + ring.stage * Q_BYTES);
                wgmma_fence();
#pragma unroll
                for (int s = 0; s < KS; ++s)
#pragma unroll
                    for (int step = 0; step < 4; ++step)
#pragma unroll
                        for (int h = 0; h < HEIGHT; ++h)
                            wgmma_wide<BQ>(block_of(sum, h), rows + s * BP * 8 + h * 512 + step * 2, columns + s * BQ * 8 + step * 2,
                                           k > schedule.k || s + step > 0);
                wgmma_commit();
                wgmma_wait<1>();  // the products of the stage before have read their operands
                if (before >= 0 && thread < SHARERS) barrier_arrive_at(empty + before, sharer);
                before = ring.stage;
            }
            if (TURNS && thread == 0) barrier_arrive(turns + 1 - group);
            wgmma_wait<0>();
            if (thread < SHARERS) barrier_arrive_at(empty + before, sharer);
            if (KPARTS > 1) break;  // the only tile
            const int slot = (schedule.worker * CLUSTER + where.rank) * parts + part;
            if (!settle(schedule, sum, sums, flags, slot, parts * CLUSTER, thread, barrier)) continue;
            tile_place(schedule.tile, tiles_p, tiles_q, panel, tp, tq);
#pragma unroll
            for (int h = 0; h < HEIGHT; ++h) store(block_of(sum, h), 0, h);
        }
        if constexpr (KPARTS > 1) {
            tile_place(schedule.tile, tiles_p, tiles_q, panel, tp, tq);
            share_tile<KPARTS, CONSUMERS, BQ>(block_of(sum, 0), p_tiles, heard, part_of_k, at, CLUSTER, group, thread, store);
        }
    }
}
