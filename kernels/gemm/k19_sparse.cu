// k19: weights of which two in every four along k are zero, k17 with its tall operand sparse.
//
// C[M, N] = A[M, K] * W[N, K]^T in bf16. Weights are the operand that may be sparse, wgmma's 64 rows: C is stored transposed, as by k17 with
// SWAP=1. The kept values come by TMA as a dense operand of half the k. Their positions, the metadata, are packed on the host as threads want
// them (wgmma_sparse.h): [64 rows][64 of k][thread of the warpgroup] words, k filled up to 256. So a stage's metadata of 64 rows is one piece,
// a bulk copy through the same ring, and a thread's word serves two instructions. Rows beyond N take the metadata of the last 64: any valid
// one will do, as their values are zeros. A stage is KS boxes of BOX bytes a row, which are also their k.
// Should gain: few tokens wait for the weights' bytes, of which a half is left and an eighth of that half more: 16/9, 1.78 times as fast. Many
// wait for the tensor cores, which would be twice as fast, but for shared memory (16/9 at 256 columns) and the power limit; and as tokens then
// are three quarters of a stage's bytes, blocks of a cluster share them.
//@ entry: gemm_sparse
//@ arch: sm_90a
//@ param: BP=128 BQ=256 BOX=64 KS=1 STAGES=5 CL=2 CQ=64 OCC=1
//@ variant: four CL=4
//@ variant: tokens8 BP=64 BQ=8 BOX=128 KS=2 STAGES=5 CL=1 CQ=8 OCC=2
//@ variant: tokens16 BP=64 BQ=16 BOX=128 KS=2 STAGES=4 CL=1 CQ=16 OCC=2
//@ variant: tokens64 BQ=64 BOX=128 STAGES=6 CL=1
//@ variant: tokens128 BQ=128 STAGES=8
//@ variant: tokens192 BQ=192 STAGES=6
//@ threads: BP/64*128 + 224-96*OCC
//@ cluster: CL
//@ smem: 1280 + STAGES*KS*BOX/64*(BP*72 + BQ*128) + BP/64*128*CQ
//@ grid: WORKERS*CL
//@ map values: bf16 [N, K/2] box [BP, BOX/2]
//@ map a: bf16 [M, K] box [BQ/CL, 64]
//@ args: values metadata a c sums flags M N K PANEL WHOLE
//@ pdl: yes
//@ expect: sm_90a UTMALDG>=2 UBLKCP>=1 STG.E.128>=1 HGMMA.SP.64x>=2

#define SWAP 1
#include "wgmma_sparse.h"
#include "stream_k.h"
#include "epilogue.h"

#define CONSUMERS (BP / 64)  // warpgroups that multiply, 64 rows each
#define UNITS (KS * BOX / 64)  // 64 of k in a stage
#define V_BYTES (BP * KS * BOX)
#define A_BYTES (BQ * UNITS * 128)
#define FEW (BQ < 128)  // tokens: all of them are one tile's
#define E_BYTES (UNITS * 512)  // metadata of 64 rows
#define THREADS (CONSUMERS * 128 + 224 - 96 * OCC)  // and the producer: a warpgroup, or a warp where two blocks must fit

KERNEL void __launch_bounds__(THREADS, OCC)
gemm_sparse(MAP values, const u32* metadata, MAP a, void* c, float* sums, int* flags, int M, int N, int K, int panel, int whole) {
    extern __shared__ unsigned char raw[];
    unsigned char* v_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* a_tiles = v_tiles + STAGES * V_BYTES;
    unsigned char* staging = a_tiles + STAGES * A_BYTES;
    unsigned char* e_tiles = staging + CONSUMERS * 128 * CQ;
    u64* full = reinterpret_cast<u64*>(e_tiles + STAGES * CONSUMERS * E_BYTES);
    u64* empty = full + STAGES;
    const int warp = warp_uniform(threadIdx.x / 32), group = warp / 4, rank = CL > 1 ? warp_uniform(cluster_rank()) : 0;

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1), barrier_init(empty + s, CONSUMERS * 4 * GIVERS * CL);  // each warp has read its metadata
        barrier_init_done(), tma_prefetch(values), tma_prefetch(a);
    }
    CL > 1 ? cluster_meet() : __syncthreads();
    allow_next();

    const int tiles_p = (N + BP * CL - 1) / (BP * CL), tiles_q = (M + BQ - 1) / BQ;
    const int ksteps = (K + UNITS * 64 - 1) / (UNITS * 64), workers = gridDim.x / CL;
    constexpr bool MOVE = CONSUMERS == 2 && OCC == 1;  // the consumers need registers that a producer of a whole warpgroup has
    Ring<STAGES> ring;
    int tp, tq;  // where the present tile lies

    if (group == CONSUMERS) {  // the producer: one warp fills the ring
        if (MOVE) registers_give<56>();
        if (warp == CONSUMERS * 4) {
            const bool leader = elect_one();
            Schedule schedule(tiles_p * tiles_q, whole, ksteps, blockIdx.x / CL, workers);
            const u64 tokens = evict_last(), once = evict_first();  // weights of few tokens are read once
            const int blocks = (N + 63) / 64, units = (K + 255) / 256 * 4;
            auto load_weights = [&](int slot, int k) {
                const int row = (tp * CL + rank) * BP;
                if (!leader) return;
                barrier_expect(full + slot, V_BYTES + CONSUMERS * E_BYTES + A_BYTES);
                for (int s = 0; s < KS; ++s) {
                    unsigned char* to = v_tiles + slot * V_BYTES + s * BP * BOX;
                    const int x = (k * KS + s) * (BOX / 2);  // in values
                    FEW ? tma_load(to, values, full + slot, x, row, once) : tma_load(to, values, full + slot, x, row);
                }
                for (int part = 0; part < CONSUMERS; ++part) {
                    const long long unit = (long long)min(row / 64 + part, blocks - 1) * units + k * UNITS;
                    bulk_load(e_tiles + (slot * CONSUMERS + part) * E_BYTES, metadata + unit * 128, E_BYTES, full + slot, FEW ? once : tokens);
                }
            };
            auto load_tokens = [&](int slot, int k) {
                if (!leader) return;
                for (int s = 0; s < UNITS; ++s) {
                    const int x = (k * UNITS + s) * 64, part = BQ / CL;
                    unsigned char* to = a_tiles + slot * A_BYTES + (s * BQ + rank * part) * 128;
                    if (CL == 1)
                        FEW ? tma_load(to, a, full + slot, x, tq * BQ, tokens) : tma_load(to, a, full + slot, x, tq * BQ);
                    else  // each block of the cluster fetches its part for all
                        tma_load_multicast(to, a, full + slot, x, tq * BQ + rank * part, (1 << CL) - 1);
                }
            };
            Schedule ahead = schedule;
            int early = 0;  // stages whose weights were asked for before the kernel ahead had ended
            while (early < STAGES && ahead.next(workers)) {
                tile_place(ahead.tile, tiles_p, tiles_q, panel, tp, tq);
                for (int k = ahead.k; k < ahead.k_end && early < STAGES; ++k) load_weights(early++, k);
            }
            previous_done();
            while (schedule.next(workers)) {
                tile_place(schedule.tile, tiles_p, tiles_q, panel, tp, tq);
                for (int k = schedule.k; k < schedule.k_end; ++k, ring.next()) {
                    if (--early < 0) {
                        barrier_wait(empty + ring.stage, ring.phase ^ 1);
                        load_weights(ring.stage, k);
                    }
                    load_tokens(ring.stage, k);
                }
            }
            if (CL > 1) await_all(ring, empty);
        }
    } else {  // a consumer warpgroup
        if (MOVE) registers_take<224>();
        previous_done();
        Schedule schedule(tiles_p * tiles_q, whole, ksteps, blockIdx.x / CL, workers);
        const int thread = threadIdx.x % 128;
        float sum[BQ / 2];
        while (schedule.next(workers)) {
            int before = -1;
            for (int k = schedule.k; k < schedule.k_end; ++k, ring.next()) {
                barrier_wait(full + ring.stage, ring.phase);
                const u32 rows = uniform_operand(v_tiles + ring.stage * V_BYTES + group * 64 * BOX);
                const u32 columns = uniform_operand(a_tiles + ring.stage * A_BYTES);
                const u32* words = reinterpret_cast<const u32*>(e_tiles + (ring.stage * CONSUMERS + group) * E_BYTES);
                u32 positions[UNITS];
#pragma unroll
                for (int unit = 0; unit < UNITS; ++unit) positions[unit] = words[unit * 128 + thread];
                wgmma_fence();
#pragma unroll
                for (int unit = 0; unit < UNITS; ++unit) {
                    const int row = unit * 64 / BOX * (BP * BOX / 16) + unit * 64 % BOX / 16, column = unit * BQ * 8;
                    wgmma_sparse<BQ, 0>(sum, kept<BOX>(rows, row), stepped(columns, column), positions[unit], k > schedule.k || unit > 0);
                    wgmma_sparse<BQ, 1>(sum, kept<BOX>(rows, row + 2), stepped(columns, column + 4), positions[unit], 1);
                }
                wgmma_commit();
                wgmma_wait<1>();  // the products of the stage before have read their operands
                if (before >= 0) give_back<CL>(empty + before, thread % 32);
                before = ring.stage;
            }
            wgmma_wait<0>();
            give_back<CL>(empty + before, thread % 32);
            if (!settle(schedule, sum, sums, flags, (schedule.worker * CL + rank) * CONSUMERS + group, CONSUMERS * CL, thread, 1 + group)) continue;
            tile_place(schedule.tile, tiles_p, tiles_q, panel, tp, tq);
            store_tile<BQ>(sum, c, staging + group * 128 * CQ, (tp * CL + rank) * BP + group * 64, tq * BQ, N, M, 1.0f, nullptr, nullptr, thread);
        }
    }
}
