// fp8_block: k17 with DeepSeek-V3's scales in the loop: e4m3, one scale a token and 128 of k, one for each 128 x 128 weights.
//
// A scale that changes along k cannot wait for the epilogue. For every 128 of k, four instructions sum into a temporary of TN columns, and
// the CUDA cores do sum += scale * scale * temporary ("promotion"). It also cures the tensor core's short sums: it keeps about 14 bits of
// e4m3's products, here over 128 of them only, and f32 beyond. Cost: TN/2 registers, and 64 FFMA a warp beside 256 cycles of its tensor
// core; while one warpgroup promotes, the other multiplies, and TEMPS=2 keeps a second temporary of the same warpgroup under way. That holds
// only if they ask for products in turn (PAIR): else the tensor core mixes their instructions, both end at once, and both promote. A tile of
// 128 x 256, its halves in turn through one temporary, asks L2 for a third less than 128 x 128: at 8192 operations a cycle L2 is near.
// Tokens' scales lie [K/128, tokens]: a tile's are one line and come by TMA with the tile that they belong to, counted by its barrier, with
// no register and no latency of their own. A weight scale is one value for a whole product and 31 of 32 are in L1: an ordinary load,
// hidden by the multiplication. Should gain over bf16: half the bytes (1.03 an operand's element) and twice the tensor core's rate.
//@ entry: gemm_fp8_block
//@ arch: sm_90a
//@ param: BP=128 BQ=256 TN=128 TEMPS=1 KS=1 STAGES=4 CL=2 SWAP=0 CQ=32 SC=128 OCC=1 TYPE=2
//@ variant: square BQ=128 STAGES=6
//@ variant: wide BQ=192 TN=192 STAGES=5
//@ variant: tokens8 BP=64 BQ=8 TN=8 TEMPS=2 KS=2 STAGES=5 CL=1 SWAP=1 CQ=8 SC=64 OCC=2
//@ variant: tokens64 BQ=64 TN=64 TEMPS=2 KS=2 CL=1 SWAP=1 SC=64
//@ variant: tokens128 BQ=128 STAGES=6 SWAP=1
//@ threads: BP*2 + 224-96*OCC
//@ cluster: CL
//@ smem: 1280 + STAGES*((BP+BQ)*KS*128 + KS*SC*4) + BP*2*CQ
//@ grid: WORKERS*CL
//@ map p: u8 [P, K] box [BP, 128]
//@ map q: u8 [Q, K] box [BQ/CL, 128]
//@ map token_scales: f32 [cdiv(K,128), STRIDE] box [KS, SC]
//@ args: p q c token_scales weight_scales sums flags P Q K PANEL WHOLE
//@ pdl: yes
//@ expect: sm_90a UTMALDG>=3 STG.E.128>=1 GMMA.64x>=4

#include "wgmma.h"
#include "stream_k.h"
#include "epilogue.h"

#define CONSUMERS (BP / 64)
#define P_BYTES (BP * KS * 128)
#define Q_BYTES (BQ * KS * 128)
#define UNITS (KS * BQ / TN)  // products of a stage: 64 rows, TN columns, 128 of k
#define PAIR (CONSUMERS == 2 && TEMPS == 1)  // two warpgroups ask for their products in turn
#define THREADS (CONSUMERS * 128 + 224 - 96 * OCC)
// Columns of a product that certainly share a weight scale: tiles of 192 or 160 columns begin within a block of 128.
#define CHUNK (SWAP ? TN : TN % 128 == 0 ? 128 : TN % 64 == 0 ? 64 : 32)

KERNEL void __launch_bounds__(THREADS, OCC) gemm_fp8_block(MAP p, MAP q, void* c, MAP token_scales, const float* __restrict__ weight_scales,
                                                           float* sums, int* flags, int P, int Q, int K, int panel, int whole) {
    extern __shared__ unsigned char raw[];
    unsigned char* p_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* q_tiles = p_tiles + STAGES * P_BYTES;
    unsigned char* staging = q_tiles + STAGES * Q_BYTES;
    float* scales = reinterpret_cast<float*>(staging + BP * 2 * CQ);
    u64* full = reinterpret_cast<u64*>(scales + STAGES * KS * SC);
    u64* empty = full + STAGES;
    const int group = threadIdx.x / 128, rank = CL > 1 ? warp_uniform(cluster_rank()) : 0;

    if (threadIdx.x == 0) {  // a warp gives a stage back when all its lanes have read their scales
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1), barrier_init(empty + s, CONSUMERS * 4 * GIVERS * CL);
        barrier_init_done();
        tma_prefetch(p), tma_prefetch(q), tma_prefetch(token_scales);
    }
    CL > 1 ? cluster_meet() : __syncthreads();
    allow_next();

    const int tiles_p = (P + BP * CL - 1) / (BP * CL), tiles_q = (Q + BQ - 1) / BQ;
    const int kblocks = (K + 127) / 128, ksteps = (kblocks + KS - 1) / KS, workers = gridDim.x / CL;
    if (OCC == 2 && without_work(tiles_p * tiles_q, whole, blockIdx.x / CL)) return;
    constexpr bool MOVE = CONSUMERS == 2 && OCC == 1;
    int tp, tq, early = 0;
    Ring<STAGES> ring;

    if (group == CONSUMERS) {
        if (MOVE) registers_give<40>();
        if (warp_uniform(threadIdx.x / 32) == CONSUMERS * 4) {
            const bool leader = elect_one();
            Schedule schedule(tiles_p * tiles_q, whole, ksteps, blockIdx.x / CL, workers);
            const u64 tokens = evict_last(), once = evict_first();
            auto load = [&](bool weights, int slot, int k) {
                if (!leader) return;
                if (weights)
                    barrier_expect(full + slot, P_BYTES + Q_BYTES + KS * SC * 4);
                else
                    tma_load(scales + slot * KS * SC, token_scales, full + slot, SWAP ? tq * BQ : (tp * CL + rank) * BP, k * KS, tokens);
                for (int s = 0; s < KS; ++s) {
                    const int x = (k * KS + s) * 128, part = BQ / CL;
                    if (weights == SWAP)
                        tma_load(p_tiles + slot * P_BYTES + s * BP * 128, p, full + slot, x, (tp * CL + rank) * BP, SWAP ? once : tokens);
                    else if (CL == 1)
                        tma_load(q_tiles + slot * Q_BYTES + s * BQ * 128, q, full + slot, x, tq * BQ, tokens);
                    else
                        tma_load_multicast(q_tiles + slot * Q_BYTES + (s * BQ + rank * part) * 128, q, full + slot, x, tq * BQ + rank * part,
                                           (1 << CL) - 1);
                }
            };
            Schedule ahead = schedule;
            while (early < STAGES && ahead.next(workers)) {
                tile_place(ahead.tile, tiles_p, tiles_q, panel, tp, tq);
                for (int k = ahead.k; k < ahead.k_end && early < STAGES; ++k) load(true, early++, k);
            }
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
            if (CL > 1) await_all(ring, empty);
        }
    } else {
        if (MOVE) registers_take<232>();
        Schedule schedule(tiles_p * tiles_q, whole, ksteps, blockIdx.x / CL, workers);
        const int thread = threadIdx.x % 128, lane = thread % 32, row = group * 64 + thread / 32 * 16 + lane / 4, barrier = 1 + group;
        previous_done();
        float sum[BQ / 2], temporary[TEMPS][TN / 2], by[TEMPS][SWAP ? TN / 4 : TN / CHUNK * 2];
        if (PAIR && group == 1) named_arrive(4, 256);  // the first turn is the other's
        while (schedule.next(workers)) {
            tile_place(schedule.tile, tiles_p, tiles_q, panel, tp, tq);
            const int p0 = (tp * CL + rank) * BP + group * 64, q0 = tq * BQ;
#pragma unroll
            for (int i = 0; i < BQ / 2; ++i) sum[i] = 0.0f;
            for (int k = schedule.k; k < schedule.k_end; ++k, ring.next()) {
                barrier_wait(full + ring.stage, ring.phase);
                const u64 rows = operand(p_tiles + ring.stage * P_BYTES + group * 64 * 128), columns = operand(q_tiles + ring.stage * Q_BYTES);
#pragma unroll
                for (int unit = 0; unit < UNITS + TEMPS - 1; ++unit) {
                    const int s = unit % KS, piece = unit / KS, done = unit - TEMPS + 1;
                    if (unit < UNITS) {
                        if (PAIR) named_barrier(4 + group, 256);
                        wgmma_fence();
#pragma unroll
                        for (int step = 0; step < 4; ++step)
                            wgmma<TN>(temporary[unit % TEMPS], rows + s * BP * 8 + step * 2, columns + (s * BQ + piece * TN) * 8 + step * 2, step > 0);
                        wgmma_commit();
                        if (PAIR) named_arrive(5 - group, 256);
                        const float* token = scales + (ring.stage * KS + s) * SC;
#pragma unroll
                        for (int chunk = 0; chunk < TN / CHUNK; ++chunk) {
                            // The block of 128 weights; beyond the edges any one will do, the products there are 0 or not stored.
                            const int block = min(SWAP ? p0 : q0 + piece * TN + chunk * CHUNK, (SWAP ? P : Q) - 1) / 128;
                            const float weight = __ldg(weight_scales + block * kblocks + min(k * KS + s, kblocks - 1));
#pragma unroll
                            for (int i = 0; i < (SWAP ? TN / 4 : 2); ++i)
                                by[unit % TEMPS][chunk * 2 + i] = weight * token[SWAP ? piece * TN + i / 2 * 8 + lane % 4 * 2 + i % 2 : row + 8 * i];
                        }
                    }
                    unit < UNITS ? wgmma_wait<TEMPS - 1>() : wgmma_wait<0>();
                    if (done < 0) continue;
                    wgmma_done(temporary[done % TEMPS]);
                    if (done == UNITS - 1) give_back<CL>(empty + ring.stage, lane);
#pragma unroll
                    for (int i = 0; i < TN / 2; ++i)
                        sum[done / KS * (TN / 2) + i] += by[done % TEMPS][SWAP ? i / 4 * 2 + i % 2 : i / 4 * 8 / CHUNK * 2 + i / 2 % 2] * temporary[done % TEMPS][i];
                }
            }
            if (!settle(schedule, sum, sums, flags, (schedule.worker * CL + rank) * CONSUMERS + group, CONSUMERS * CL, thread, barrier)) continue;
            store_tile<BQ>(sum, c, staging + group * 128 * CQ, p0, q0, P, Q, 1.0f, nullptr, nullptr, thread);
        }
    }
}
