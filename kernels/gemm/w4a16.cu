// w4a16: up to 16 tokens times weights in 4 bits, by mma.sync out of registers, each multiprocessor with rows of its own.
//
// C[M, N] = A[M, K] * W[N, K]^T in bf16, W = (code - 8) * scale, a scale for each row and 128 of k. The floor is the weights' bytes, 33/8 bits
// each against 16: 3.9 times bf16's speed. Most products then take so little time that a launch's beginning and end count:
// - A tile is a number of strips of 16 rows such that each multiprocessor has one or two tiles, whole where that comes out; the warps of a
//   block divide k (WK) and add up through their own shared memory, faster than ranges of k that meet in L2 (stream_k.h).
// - Weights are asked for before the kernel ahead has ended, as many as fit. Tokens lie in the same stages, ROWS of them: what few tokens do
//   not need, the weights' stages have.
// - Every multiprocessor gets a block, also where there is none to do (without_work).
// For few tokens mma.sync is fast enough and needs none of wgmma's waits: every warp goes on by itself. A lane's 16-byte load is its operands of
// four products, as codes (w4.h); a group of k is summed without its scales, then added, times the row's scale.
// Issue slots: 16 rows and a group of k take a warp with two strips 115 instructions, 72 of them to make 2048 weights of the codes. At 4.2 TB/s
// they come every 58 cycles of 1.75 GHz; four schedulers issue them in 29, if others wait meanwhile. A warp's waits are long, so each
// instruction that the loop lost, addresses above all, was worth its share: one ring instead of two, what a lane reads worked out before.
// Should gain: 3.3 times bf16's speed up to 16 tokens.
//@ entry: gemm_w4a16
//@ arch: sm_90a
//@ param: RS=2 WR=1 WK=8 BQ=8 ROWS=8 STAGES=3 OCC=2
//@ variant: tokens4 RS=1 WR=3 WK=4 ROWS=4 STAGES=6
//@ variant: tokens16 RS=4 WK=4 BQ=16 ROWS=16
//@ threads: WR*WK*32 + 32
//@ smem: 1024 + STAGES*(cdiv(WK*ROWS,4)*1024 + WK*WR*RS*1056 + 16) + WR*WK*32*BQ + WR*RS*(WK-1)*64*BQ
//@ grid: WORKERS
//@ map a: bf16 [cdiv(K,64), M, 64] stride [64, K] box [WK*2, min(M,ROWS), 64]
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
#define A_BYTES ((WK * ROWS * 256 + 1023) / 1024 * 1024)  // the swizzle repeats after 1024
#define W_BYTES (WK * STRIPS * UNIT_BYTES)

KERNEL void __launch_bounds__(WARPS * 32 + 32, OCC)
gemm_w4a16(const unsigned char* weights, MAP a, void* c, float* sums, int* flags, int M, int N, int K, int whole) {
    extern __shared__ unsigned char raw[];
    unsigned char* a_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* w_tiles = a_tiles + STAGES * A_BYTES;
    unsigned char* staging = w_tiles + STAGES * W_BYTES;
    Four<float>* room = reinterpret_cast<Four<float>*>(staging + WARPS * 32 * CQ);  // [strip][part but the adder's][4 values][lane]
    u64 *full = reinterpret_cast<u64*>(room + STRIPS * (WK - 1) * BQ * 4), *empty = full + STAGES;
    const int warp = warp_uniform(threadIdx.x / 32), lane = threadIdx.x % 32;

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1), barrier_init(empty + s, WARPS * GIVERS);
        barrier_init_done();
        tma_prefetch(a);
    }
    __syncthreads();
    allow_next();

    const int strips = (N + 15) / 16, tiles_q = (M + BQ - 1) / BQ, groups = K / 128, workers = gridDim.x, rows = min(M, ROWS);
    const int tiles = (strips + STRIPS - 1) / STRIPS * tiles_q;
    Schedule schedule(tiles, whole, (groups + WK - 1) / WK, blockIdx.x, workers);
    if (without_work(tiles, whole, blockIdx.x)) return;
    Ring<STAGES> ring;

    if (warp == WARPS) {  // the producer: one warp fills the ring
        const bool leader = elect_one();
        const u64 tokens = evict_last(), once = evict_first();
        const long long stride = (long long)strips * UNIT_BYTES;  // from a group to the next
        auto load_weights = [&](int strip, int k, int stage) {
            if (!leader) return;
            const int bytes = min(STRIPS, strips - strip) * UNIT_BYTES, count = min(WK, groups - k * WK);
            const unsigned char* from = unit_place(weights, strip, k * WK, strips);
            barrier_expect(full + stage, count * bytes + WK * 256 * rows);
#pragma unroll 1  // unrolled, they are so much code that a short launch takes a tenth longer
            for (int g = 0; g < count; ++g) bulk_load(w_tiles + stage * W_BYTES + g * STRIPS * UNIT_BYTES, from + g * stride, bytes, full + stage, once);
        };
        Schedule ahead = schedule;
        int early = 0;  // stages whose weights were asked for before the kernel ahead had ended
        while (early < STAGES && ahead.next(workers)) {
            const int strip = ahead.tile / tiles_q * STRIPS;
            for (int k = ahead.k; k < ahead.k_end && early < STAGES; ++k, ++early) load_weights(strip, k, early);
        }
        previous_done();
        while (schedule.next(workers)) {
            const int strip = schedule.tile / tiles_q * STRIPS, token = schedule.tile % tiles_q * BQ;
            for (int k = schedule.k; k < schedule.k_end; ++k, ring.next()) {
                if (--early < 0) {
                    barrier_wait(empty + ring.stage, ring.phase ^ 1);
                    load_weights(strip, k, ring.stage);
                }
                if (leader) tma_load(a_tiles + ring.stage * A_BYTES, a, full + ring.stage, 0, token, k * WK * 2, tokens);
            }
        }
        return;
    }
    const int along = warp % WR, part = warp / WR;  // which strips of the tile, and which group of a stage
    const GroupPlaces<BQ> mine(w_tiles + (part * STRIPS + along * RS) * UNIT_BYTES, a_tiles, part, rows, lane);
    previous_done();
    for (int turn = 0; schedule.next(workers); ++turn) {
        float sum[RS][BQ / 2] = {};
        for (int k = schedule.k; k < schedule.k_end; ++k, ring.next()) {
            barrier_wait(full + ring.stage, ring.phase);
            auto have_read = [&] { give_back(empty + ring.stage, lane); };
            if (k * WK + part < groups)
                multiply_group<RS, BQ>(sum, mine, ring.stage * W_BYTES, ring.stage * A_BYTES, have_read);
            else
                have_read();  // the last step has fewer groups
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
            if (!settle<32>(schedule, own, sums, flags, schedule.worker * STRIPS + strip, STRIPS, lane, 0)) continue;
            to_wholes(own);
            store_tile<BQ>(own, c, staging + warp * 32 * CQ, (schedule.tile / tiles_q * STRIPS + strip) * 16, schedule.tile % tiles_q * BQ, N, M,
                           1.0f, nullptr, nullptr, lane);
        }
    }
}
