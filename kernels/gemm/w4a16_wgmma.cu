// w4a16_wgmma: w4a16 for more than 16 tokens, where the arithmetic is the limit: k17 with its tall operand out of registers.
//
// wgmma multiplies at twice mma.sync's rate, and a block's tokens are read from shared memory once for four warps: at 64 tokens that is the
// difference. A lane's 16-byte load is its operands of four wgmmas, as codes (w4.h). A group of k is summed without its scales (the first wgmma
// overwrites), then added to the f32 sums, times the row's scale. While the tensor cores multiply one half of a group, the next half becomes
// operands in the other buffer; wgmma reads registers late, so a buffer is written only after the wait that ends its half.
// Should gain: 2 to 3 times bf16's speed at 32 tokens, less at 64: the conversion takes as long as the products, and both hold the warps up.
//@ entry: gemm_w4a16_wgmma
//@ arch: sm_90a
//@ param: WG=2 RB=2 BQ=32 CQ=16 STAGES=8 OCC=1
//@ variant: pair32 RB=1 STAGES=6 OCC=2
//@ variant: short32 WG=1 STAGES=6 OCC=2
//@ variant: least32 WG=1 RB=1 STAGES=8 OCC=2
//@ variant: tokens64 RB=1 BQ=64
//@ variant: least64 WG=1 RB=1 BQ=64 STAGES=5 OCC=2
//@ threads: WG*128 + 32
//@ smem: 1024 + STAGES*(BQ*256 + WG*RB*4224 + 16) + WG*128*CQ
//@ grid: WORKERS
//@ map a: bf16 [cdiv(K,64), M, 64] stride [64, K] box [2, BQ, 64]
//@ args: weights a c sums flags M N K WHOLE
//@ pdl: yes
//@ expect: sm_90a UBLKCP>=1 UTMALDG>=1 STG.E.128>=1 HGMMA>=8 LDS.128>=2

#define SWAP 1
#include "w4.h"
#include "wgmma.h"
#include "stream_k.h"
#include "epilogue.h"

#define BLOCKS (WG * RB)  // blocks of 64 rows of a tile: RB for each warpgroup that multiplies
#define A_BYTES (BQ * 256)
#define W_BYTES (BLOCKS * 4 * UNIT_BYTES)

KERNEL void __launch_bounds__(WG * 128 + 32, OCC)
gemm_w4a16_wgmma(const unsigned char* weights, MAP a, void* c, float* sums, int* flags, int M, int N, int K, int whole) {
    extern __shared__ unsigned char raw[];
    unsigned char* a_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* staging = a_tiles + STAGES * A_BYTES;
    unsigned char* w_tiles = staging + WG * 128 * CQ;
    u64* full = reinterpret_cast<u64*>(w_tiles + STAGES * W_BYTES);
    u64* empty = full + STAGES;
    const int warp = warp_uniform(threadIdx.x / 32), group = warp / 4;

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1), barrier_init(empty + s, WG * 4 * GIVERS);
        barrier_init_done();
        tma_prefetch(a);
    }
    __syncthreads();
    allow_next();

    const int strips = (N + 15) / 16, groups = K / 128, tiles_q = (M + BQ - 1) / BQ, workers = gridDim.x;
    Schedule schedule((strips + BLOCKS * 4 - 1) / (BLOCKS * 4) * tiles_q, whole, groups, blockIdx.x, workers);
    Ring<STAGES> ring;

    if (group == WG) {  // the producer: one warp fills the ring
        const bool leader = elect_one();
        const u64 tokens = evict_last(), once = evict_first();
        auto load_weights = [&](const Schedule& at, int slot, int k) {
            if (!leader) return;
            const int strip = at.tile / tiles_q * BLOCKS * 4, bytes = min(BLOCKS * 4, strips - strip) * UNIT_BYTES;
            barrier_expect(full + slot, bytes + A_BYTES);
            bulk_load(w_tiles + slot * W_BYTES, unit_place(weights, strip, k, strips), bytes, full + slot, once);
        };
        Schedule ahead = schedule;
        int early = 0;  // stages whose weights were asked for before the kernel ahead had ended
        while (early < STAGES && ahead.next(workers))
            for (int k = ahead.k; k < ahead.k_end && early < STAGES; ++k) load_weights(ahead, early++, k);
        previous_done();
        while (schedule.next(workers))
            for (int k = schedule.k; k < schedule.k_end; ++k, ring.next()) {
                if (--early < 0) {
                    barrier_wait(empty + ring.stage, ring.phase ^ 1);
                    load_weights(schedule, ring.stage, k);
                }
                if (leader) tma_load(a_tiles + ring.stage * A_BYTES, a, full + ring.stage, 0, schedule.tile % tiles_q * BQ, k * 2, tokens);
            }
        return;
    }
    const int thread = threadIdx.x % 128, lane = thread % 32, barrier = 1 + group;
    previous_done();
    while (schedule.next(workers)) {
        float sum[RB][BQ / 2] = {}, part[RB][BQ / 2] = {};  // of all k so far; of the present group, without its scales
        u32 operands[2][4][4], scales[RB] = {};
        int before = -1;
        auto finish = [&](int r) { wgmma_done(part[r]), add_scaled(sum[r], part[r], scales[r]); };
#pragma unroll 1
        for (int k = schedule.k; k < schedule.k_end; ++k, ring.next()) {
            barrier_wait(full + ring.stage, ring.phase);
            const unsigned char* units = w_tiles + ring.stage * W_BYTES + (group * RB * 4 + warp % 4) * UNIT_BYTES;
            const u32 columns = uniform_operand(a_tiles + ring.stage * A_BYTES);
            auto load = [&](int i) { return *reinterpret_cast<const uint4*>(units + i / 2 * 4 * UNIT_BYTES + i % 2 * 512 + lane * 16); };
            uint4 codes = load(0);
#pragma unroll
            for (int r = 0; r < RB; ++r)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    dequantise(codes.x, operands[half][0]), dequantise(codes.y, operands[half][1]);
                    dequantise(codes.z, operands[half][2]), dequantise(codes.w, operands[half][3]);
                    if (r + half == 0) wgmma_wait<0>();  // the stage before: ptxas follows groups under way within a turn only
                    if (RB == 1 && half == 0) finish(0);
                    wgmma_fence();
#pragma unroll
                    for (int step = 0; step < 4; ++step)
                        wgmma_rs<BQ>(part[r], operands[half][step], stepped(columns, half * BQ * 8 + step * 2), half + step > 0);
                    wgmma_commit();
                    if (r * 2 + half + 1 < RB * 2) codes = load(r * 2 + half + 1);
                    if (r + half > 0) wgmma_wait<1>();  // of the half before: its operands may be overwritten, its sums read
                    if (RB > 1 && half == 0) finish((r + RB - 1) % RB);
                    if (r + half == 0) give_back(empty + before, lane, before >= 0);
                    if (half == 0) scales[r] = *reinterpret_cast<const u32*>(units + r * 4 * UNIT_BYTES + UNIT_CODES + lane / 4 * 4);
                }
            before = ring.stage;
        }
        wgmma_wait<0>();
        finish(RB - 1), give_back(empty + before, lane, before >= 0);
        float(&all)[RB * BQ / 2] = reinterpret_cast<float(&)[RB * BQ / 2]>(sum);
        if (!settle<128, WG == 1 ? 4 : 1>(schedule, all, sums, flags, schedule.worker * WG + group, WG, thread, barrier)) continue;
        to_wholes(all);
        const int row = (schedule.tile / tiles_q * WG + group) * RB * 64, token = schedule.tile % tiles_q * BQ;
#pragma unroll
        for (int r = 0; r < RB; ++r)
            store_tile<BQ>(sum[r], c, staging + group * 128 * CQ, row + r * 64, token, N, M, 1.0f,
                           nullptr, nullptr, thread);
    }
}
