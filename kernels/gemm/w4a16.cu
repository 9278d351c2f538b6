// w4a16: up to 16 tokens times weights in 4 bits, by mma.sync out of registers, each multiprocessor with rows of its own.
//
// C[M, N] = A[M, K] * W[N, K]^T in bf16, W = (code - 8) * scale, a scale for each row and 128 of k. The floor is the weights' bytes, 33/8 bits
// each against 16: 3.9 times bf16's speed. Most products then take so little time that a launch's beginning and end count:
// - A tile is a number of strips of 16 rows that gives every multiprocessor one; the warps of a block divide k (WK) and add up through their
//   own shared memory. That takes a quarter of a microsecond; ranges of k that meet in L2 (stream_k.h) take more than two.
// - Weights are asked for before the kernel ahead has ended, as many as fit. Tokens come from L2 and have a shorter ring.
// - Every multiprocessor gets a block, also where there is none to do (without_work), and what runs once is not unrolled.
// For few tokens mma.sync is fast enough and needs none of wgmma's waits: every warp goes on by itself. A lane's 16-byte load is its operands of
// four products, as codes (w4.h); a group of k is summed without its scales, then added, times the row's scale.
// Issue slots: 16 rows and a group of k take a warp some 115 instructions, 88 of them for 2048 weights: 8 shifts and 32 LOP3 at half rate, 32
// packed FMAs. At 4.2 TB/s they come every 58 cycles of 1.75 GHz; four schedulers issue them in 29.
// Should gain: 3.3 times bf16's speed up to 16 tokens.
//@ entry: gemm_w4a16
//@ arch: sm_90a
//@ param: RS=2 WR=1 WK=8 BQ=8 STAGES=3 OCC=2
//@ variant: tokens16 RS=4 WK=4 BQ=16
//@ threads: WR*WK*32 + 32
//@ smem: 1072 + 3*WK*BQ*256 + STAGES*(WK*WR*RS*1056 + 8) + WR*WK*32*BQ + WR*RS*(WK-1)*64*BQ
//@ grid: WORKERS
//@ map a: bf16 [cdiv(K,64), M, 64] stride [64, K] box [WK*2, BQ, 64]
//@ args: weights a c sums flags M N K WHOLE
//@ pdl: yes
//@ expect: sm_90a UBLKCP>=1 UTMALDG>=1 STG.E.128>=1 HMMA>=8 LDS.128>=2

#define SWAP 1
#define CQ BQ
#include "w4.h"
#include "stream_k.h"
#include "epilogue.h"

#define WARPS (WR * WK)   // that multiply: WR along the rows of a tile, WK along k
#define STRIPS (WR * RS)  // of 16 rows in a tile, RS of them a warp's
#define A_BYTES (WK * BQ * 256)
#define W_BYTES (WK * STRIPS * UNIT_BYTES)
#define TOKENS 3          // steps whose tokens are under way or there: they come from L2

static_assert(STAGES >= TOKENS, "a step's weights are asked for when an earlier one's tokens are given back");

KERNEL void __launch_bounds__(WARPS * 32 + 32, OCC)
gemm_w4a16(const unsigned char* weights, MAP a, void* c, float* sums, int* flags, int M, int N, int K, int whole) {
    extern __shared__ unsigned char raw[];
    unsigned char* a_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* w_tiles = a_tiles + TOKENS * A_BYTES;
    unsigned char* staging = w_tiles + STAGES * W_BYTES;
    Four<float>* room = reinterpret_cast<Four<float>*>(staging + WARPS * 32 * CQ);  // [strip][part but the adder's][4 values][lane]
    u64* heavy = reinterpret_cast<u64*>(room + STRIPS * (WK - 1) * BQ * 4);  // a stage's weights have come
    u64 *light = heavy + STAGES, *empty = light + TOKENS;                    // its tokens have; both have been read
    const int warp = warp_uniform(threadIdx.x / 32), lane = threadIdx.x % 32;

    if (threadIdx.x == 0) {
#pragma unroll 1
        for (int s = 0; s < STAGES; ++s) barrier_init(heavy + s, 1);
#pragma unroll 1
        for (int s = 0; s < TOKENS; ++s) barrier_init(light + s, 1), barrier_init(empty + s, WARPS);
        barrier_init_done();
        tma_prefetch(a);
    }
    __syncthreads();
    allow_next();

    const int strips = (N + 15) / 16, tiles_q = (M + BQ - 1) / BQ, groups = K / 128, workers = gridDim.x;
    const int tiles = (strips + STRIPS - 1) / STRIPS * tiles_q;
    Schedule schedule(tiles, whole, (groups + WK - 1) / WK, blockIdx.x, workers);
    if (without_work(tiles, whole, blockIdx.x)) return;
    Ring<STAGES> of_weights;
    Ring<TOKENS> of_tokens;

    if (warp == WARPS) {  // the producer: one warp fills both rings
        const bool leader = elect_one();
        const u64 tokens = evict_last(), once = evict_first();
        const long long stride = (long long)strips * UNIT_BYTES;  // from a group to the next
        Schedule ahead = schedule;
        const unsigned char* from = weights;
        int steps = 0, bytes = 0;  // that the present segment still has; of a group in it
        auto load_weights = [&] {  // of the next step that has not been asked for
            if (steps == 0) {
                if (!ahead.next(workers)) return;
                const int strip = ahead.tile / tiles_q * STRIPS;
                from = unit_place(weights, strip, ahead.k * WK, strips);
                steps = ahead.k_end - ahead.k, bytes = min(STRIPS, strips - strip) * UNIT_BYTES;
            }
            const int count = min(WK, groups - (ahead.k_end - steps--) * WK);
            u64* barrier = heavy + of_weights.stage;
            unsigned char* to = w_tiles + of_weights.stage * W_BYTES;
            if (leader) {
                barrier_expect(barrier, count * bytes);
#pragma unroll 1  // a launch begins with no instruction in the cache: what runs once is short rather than fast
                for (int g = 0; g < count; ++g) bulk_load(to + g * STRIPS * UNIT_BYTES, from + g * stride, bytes, barrier, once);
            }
            from += WK * stride;
            of_weights.next();
        };
#pragma unroll 1
        for (int s = 0; s < STAGES; ++s) load_weights();
        previous_done();
        for (int step = 0; schedule.next(workers);) {
            const int token = schedule.tile % tiles_q * BQ;
            for (int k = schedule.k; k < schedule.k_end; ++k, ++step, of_tokens.next()) {
                if (step >= TOKENS) {  // who has read a step's tokens has read its weights too
                    barrier_wait(empty + of_tokens.stage, of_tokens.phase ^ 1);
                    load_weights();
                }
                if (!leader) continue;
                barrier_expect(light + of_tokens.stage, A_BYTES);
                tma_load(a_tiles + of_tokens.stage * A_BYTES, a, light + of_tokens.stage, 0, token, k * WK * 2, tokens);
            }
        }
        return;
    }
    const int along = warp % WR, part = warp / WR;  // which strips of the tile, and which group of a stage
    previous_done();
    for (int turn = 0; schedule.next(workers); ++turn) {
        float sum[RS][BQ / 2] = {};
        for (int k = schedule.k; k < schedule.k_end; ++k, of_weights.next(), of_tokens.next()) {
            barrier_wait(heavy + of_weights.stage, of_weights.phase), barrier_wait(light + of_tokens.stage, of_tokens.phase);
            auto give_back = [&] {
                __syncwarp();  // all lanes have read what the step holds
                if (lane == 0) barrier_arrive(empty + of_tokens.stage);
            };
            if (k * WK + part < groups)
                multiply_group<RS, BQ>(sum, w_tiles + of_weights.stage * W_BYTES + (part * STRIPS + along * RS) * UNIT_BYTES,
                                       a_tiles + of_tokens.stage * A_BYTES + part * BQ * 256, lane, give_back);
            else
                give_back();  // the last step has fewer groups
        }
        // The parts add up: strip r of a warp's is finished by the part of number r % WK.
        auto place = [&](int r, int from) { return room + (((along * RS + r) * (WK - 1) + from) * BQ / 8) * 32 + lane; };
        if (WK > 1) {
            if (turn > 0) named_barrier(1 + along, WK * 32);  // what the tile before left has been read
#pragma unroll
            for (int r = 0; r < RS; ++r)
#pragma unroll
                for (int i = 0; i < BQ / 2; i += 4)
                    if (r % WK != part)
                        place(r, part - (part > r % WK))[i * 8] = {{sum[r][i], sum[r][i + 1], sum[r][i + 2], sum[r][i + 3]}};
            named_barrier(1 + along, WK * 32);
        }
#pragma unroll 1
        for (int r = part; r < RS; r += WK) {
            float own[BQ / 2];
#pragma unroll
            for (int s = 0; s < RS; ++s)
#pragma unroll
                for (int i = 0; i < BQ / 2; ++i)
                    if (s == r) own[i] = sum[s][i];
#pragma unroll
            for (int from = 0; from < WK - 1; ++from)
#pragma unroll
                for (int i = 0; i < BQ / 2; ++i) own[i] += place(r, from)[i / 4 * 32].v[i % 4];
            const int strip = along * RS + r;
            if (settle<32>(schedule, own, sums, flags, schedule.worker * STRIPS + strip, STRIPS, lane, 0))
                store_tile<BQ>(own, c, staging + warp * 32 * CQ, (schedule.tile / tiles_q * STRIPS + strip) * 16, schedule.tile % tiles_q * BQ, N, M,
                               1.0f, nullptr, nullptr, lane);
        }
    }
}
