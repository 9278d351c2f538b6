// k17: the ladder's last step, all of it in one kernel: stream-K, either operand as the tall one, four element types.
//
// C = P * Q^T over k. P is the operand of wgmma's 64 rows, Q the one of its n columns. For many tokens P is the activations; for few
// (SWAP=1) P is the weights and the tokens are the n columns, 8 of them at least: weights fill the tensor core's rows, nothing is padded
// to 64 or 128 tokens, and the result is stored transposed. k is cut where the tiles alone would leave multiprocessors idle.
// Weights do not depend on the kernel ahead: their first loads start before it has ended (programmatic dependent launch), and with
// OCC=2, where two blocks fit on a multiprocessor, the next kernel fills its whole ring while this one still computes.
// Should gain: at 16 to 256 tokens, the idle part of the last wave (up to half), and the memory system's idle time between two launches.
//@ entry: gemm_stream_k
//@ arch: sm_90a
//@ param: BP=128 BQ=256 KS=1 STAGES=4 CL=2 SWAP=0 CQ=64 CROWS=64 CCOLS=64 GROUP=8 OCC=1 TYPE=0 EB=2
//@ variant: tokens8 BQ=8 CQ=8 CROWS=8 STAGES=6 CL=1 SWAP=1 OCC=2
//@ variant: tokens16 BQ=16 CQ=16 CROWS=16 STAGES=5 CL=1 SWAP=1 OCC=2
//@ variant: tokens64 BQ=64 CQ=16 CROWS=16 CL=1 SWAP=1 OCC=2
//@ variant: tokens128 BP=256 BQ=128 SWAP=1
//@ variant: odd BQ=224 CQ=32 CCOLS=32
//@ variant: narrow BP=64 BQ=64 CL=2 STAGES=6 CQ=16 CROWS=16 SWAP=1 OCC=2
//@ variant: fp8 TYPE=2 EB=1
//@ variant: int8 TYPE=3 EB=1
//@ threads: min(BP/64,2)*128 + 224-96*OCC
//@ cluster: CL
//@ smem: 1280 + STAGES*(BP+BQ)*KS*128 + min(BP/64,2)*256*CQ
//@ grid: WORKERS*CL
//@ map p: u8 [P, K*EB] box [BP, 128]
//@ map q: u8 [Q, K*EB] box [BQ/CL, 128]
//@ map c: bf16 [ROWS, COLS] box [CROWS, CCOLS]
//@ args: p q c sums flags P Q K WHOLE alpha scale_p scale_q
//@ pdl: yes
//@ expect: sm_90a UTMALDG>=2 UTMASTG>=1

#if TYPE == 1
#define WGMMA_F16
#elif TYPE == 2
#define WGMMA_E4M3
#elif TYPE == 3
#define WGMMA_S8
#endif
#include "wgmma.h"
#include "stream_k.h"
#include "epilogue.h"

#define CONSUMERS (BP == 64 ? 1 : 2)  // warpgroups that multiply
#define MI (BP / 64 / CONSUMERS)     // blocks of 64 rows that each of them has
#define P_BYTES (BP * KS * 128)
#define Q_BYTES (BQ * KS * 128)

KERNEL void __launch_bounds__(CONSUMERS * 128 + 224 - 96 * OCC, OCC) gemm_stream_k(MAP p, MAP q, MAP c, Accumulator* sums, int* flags, int P, int Q, int K, int whole,
                                                    float alpha, const float* scale_p, const float* scale_q) {
    extern __shared__ unsigned char raw[];
    unsigned char* p_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* q_tiles = p_tiles + STAGES * P_BYTES;
    unsigned char* staging = q_tiles + STAGES * Q_BYTES;
    u64* full = reinterpret_cast<u64*>(staging + CONSUMERS * 256 * CQ);
    u64* empty = full + STAGES;
    const int group = threadIdx.x / 128, rank = CL > 1 ? cluster_rank() : 0;

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1), barrier_init(empty + s, CONSUMERS * CL);
        barrier_init_done();
        tma_prefetch(p), tma_prefetch(q), tma_prefetch(c);
    }
    CL > 1 ? cluster_sync() : __syncthreads();
    allow_next();

    const int tiles_p = (P + BP * CL - 1) / (BP * CL), tiles_q = (Q + BQ - 1) / BQ;
    const int ksteps = (K * EB + KS * 128 - 1) / (KS * 128);
    const int workers = gridDim.x / CL;
    int stage = 0, phase = 0;

    constexpr bool MOVE = CONSUMERS == 2 && OCC == 1;  // a producer of a whole warpgroup, whose registers go to the consumers
    if (group == CONSUMERS) {                          // the producer: one thread fills the ring
        if (MOVE) registers_give<56>();
        if (threadIdx.x == CONSUMERS * 128) {
            Schedule schedule(tiles_p * tiles_q, whole, ksteps, blockIdx.x / CL, workers);
            const u64 tokens = evict_last(), once = evict_first();
            int tp, tq;  // where the present tile lies
            auto load = [&](bool weights, int slot, int k) {
                for (int s = 0; s < KS; ++s) {
                    const int x = (k * KS + s) * 128, half = BQ / CL;
                    if (weights == SWAP)
                        tma_load(p_tiles + slot * P_BYTES + s * BP * 128, p, full + slot, x, (tp * CL + rank) * BP, SWAP ? once : tokens);
                    else if (CL == 1)
                        tma_load(q_tiles + slot * Q_BYTES + s * BQ * 128, q, full + slot, x, tq * BQ, tokens);
                    else  // each block fetches its share for all
                        tma_load_multicast(q_tiles + slot * Q_BYTES + (s * BQ + rank * half) * 128, q, full + slot, x, tq * BQ + rank * half, tokens, (1 << CL) - 1);
                }
            };
            Schedule ahead = schedule;
            int early = 0;
            while (early < STAGES && ahead.next(workers)) {
                tile_place(ahead.tile, tiles_p, tiles_q, GROUP, tp, tq);
                for (int k = ahead.k; k < ahead.k_end && early < STAGES; ++k, ++early) {
                    barrier_expect(full + early, P_BYTES + Q_BYTES);
                    load(true, early, k);
                }
            }
            previous_done();
            while (schedule.next(workers)) {
                tile_place(schedule.tile, tiles_p, tiles_q, GROUP, tp, tq);
                for (int k = schedule.k; k < schedule.k_end; ++k) {
                    if (early > 0) {
                        --early;
                    } else {
                        barrier_wait(empty + stage, phase ^ 1);
                        barrier_expect(full + stage, P_BYTES + Q_BYTES);
                        load(true, stage, k);
                    }
                    load(false, stage, k);
                    if (++stage == STAGES) stage = 0, phase ^= 1;
                }
            }
        }
    } else {  // a consumer warpgroup
        if (MOVE) registers_take<224>();
        Schedule schedule(tiles_p * tiles_q, whole, ksteps, blockIdx.x / CL, workers);
        previous_done();
        const int wg = group, thread = threadIdx.x % 128;
        int turn = 0;
        Accumulator sum[MI][BQ / 2];
        while (schedule.next(workers)) {
            int before = -1;
            for (int k = schedule.k; k < schedule.k_end; ++k) {
                barrier_wait(full + stage, phase);
                wgmma_fence();
#pragma unroll
                for (int s = 0; s < KS; ++s)
#pragma unroll
                    for (int step = 0; step < 4; ++step)
#pragma unroll
                        for (int m = 0; m < MI; ++m)
                            wgmma<BQ>(sum[m], operand(p_tiles + stage * P_BYTES + (s * BP + (wg * MI + m) * 64) * 128) + step * 2,
                                      operand(q_tiles + stage * Q_BYTES + s * BQ * 128) + step * 2, k > schedule.k || s + step > 0);
                wgmma_commit();
                wgmma_wait<1>();  // the products of the stage before have read their operands
                if (before >= 0 && thread < CL) barrier_arrive_at(empty + before, thread);
                before = stage;
                if (++stage == STAGES) stage = 0, phase ^= 1;
            }
            wgmma_wait<0>();
            if (thread < CL) barrier_arrive_at(empty + before, thread);

            // A slot of the workspace for each [worker][block of the cluster][warpgroup].
            const int slot = (schedule.worker * CL + rank) * CONSUMERS + wg;
            constexpr int SIZE = MI * BQ * 64;
            if (schedule.k_end < ksteps) {
                leave_sums(sum, sums + (long long)slot * SIZE, flags + slot, thread, 1 + wg);
                continue;
            }
            if (schedule.k > 0) {
                const int sharers = schedule.worker - schedule.first_sharer(), first = slot - sharers * CONSUMERS * CL;
                await_flags(flags + first, sharers, CONSUMERS * CL, thread, 1 + wg);
#pragma unroll(BQ <= 32 ? 4 : 1)
                for (int i = 0; i < sharers; ++i) add_sums(sum, sums + (long long)(first + i * CONSUMERS * CL) * SIZE, thread);
            }
            int tp, tq;
            tile_place(schedule.tile, tiles_p, tiles_q, GROUP, tp, tq);
#pragma unroll
            for (int m = 0; m < MI; ++m)
                store_tile<BQ>(sum[m], c, staging + wg * 128 * CQ * 2, (tp * CL + rank) * BP + (wg * MI + m) * 64, tq * BQ, P, Q, alpha, scale_p,
                               scale_q, thread, 1 + wg, turn);
        }
        tma_store_wait<0>();
    }
    if (CL > 1) cluster_sync();  // a block's barriers stay until no block of the cluster arrives at them
}
