// w4a16: few tokens times weights in 4 bits, k17 with its tall operand out of registers.
//
// C[M, N] = A[M, K] * W[N, K]^T in bf16, W = (code - 8) * scale, a scale for each row and 128 of k. Up to 16 tokens the floor is the
// weights' bytes, 33/8 bits each against 16: 3.9 times bf16's speed. Packed offline (w4.h), a stage's weights and scales are one piece
// that one bulk copy brings, and a thread's 16-byte load is its operands of four wgmmas, as codes. Codes become exact integers in
// registers; a group of k is summed without its scales (the first wgmma overwrites), then added to the f32 sums, times the row's scale:
// BQ/2 multiplications for 64 weights a thread. While the tensor cores multiply one half of a group, the next half becomes operands in
// the other buffer; wgmma reads registers late, so a buffer is written only after the wait that ends its half.
// Issue slots: 8 weights take 3 shifts and 4 LOP3 on the integer pipe (16 lanes a cycle and quarter) and 4 packed subtractions; the loop
// has 283 instructions for 2 x 64 weights a thread, 2.2 a weight, 1.1 of them integer. At 4.2 TB/s a multiprocessor gets 34 weights a
// cycle of 1.75 GHz: 76 of its 128 issue slots and 38 of its 64 integer lanes. A wgmma of 64 x 16 weights must come every 30 cycles.
// Should gain: 3.3 times bf16's speed up to 16 tokens. A tile's rows share its tokens, which come from L2: 256 rows need 2 KB of
// tokens (BQ=8) for 16.5 KB of weights; few rows a tile (RB, WG) make short reductions where N is small.
//@ entry: gemm_w4a16
//@ arch: sm_90a
//@ param: WG=2 RB=2 BQ=8 CQ=8 STAGES=5 OCC=2
//@ variant: tokens16 BQ=16 CQ=16 STAGES=5
//@ variant: tokens32 BQ=32 CQ=16 STAGES=8 OCC=1
//@ variant: tokens64 RB=1 BQ=64 CQ=16 STAGES=8 OCC=1
//@ variant: one8 WG=1 RB=4
//@ variant: one16 WG=1 RB=4 BQ=16 CQ=16
//@ variant: short8 WG=1 STAGES=10
//@ variant: short16 WG=1 BQ=16 CQ=16 STAGES=8
//@ variant: pair32 RB=1 BQ=32 CQ=16 STAGES=6
//@ variant: short32 WG=1 BQ=32 CQ=16 STAGES=6
//@ variant: least8 WG=1 RB=1 STAGES=16
//@ variant: least16 WG=1 RB=1 BQ=16 CQ=16 STAGES=13
//@ variant: least64 WG=1 RB=1 BQ=64 CQ=16 STAGES=5
//@ threads: WG*128 + 32
//@ smem: 1024 + STAGES*(BQ*256 + WG*RB*4224 + 16) + WG*128*CQ
//@ grid: WORKERS
//@ map a: bf16 [M, K] box [BQ, 64]
//@ args: weights a c sums flags M N K WHOLE
//@ pdl: yes
//@ expect: sm_90a UBLKCP>=1 UTMALDG>=2 STG.E.128>=1 HGMMA>=8 LDS.128>=2

#define SWAP 1
#include "w4.h"
#include "stream_k.h"
#include "epilogue.h"

#define AHEAD (WG > 1 ? 1 : 4)  // two blocks of two warpgroups leave a thread 96 registers
#define BLOCKS (WG * RB)  // blocks of 64 rows of a tile: RB for each warpgroup that multiplies
#define A_BYTES (BQ * 256)
#define W_BYTES (BLOCKS * UNIT_BYTES)

KERNEL void __launch_bounds__(WG * 128 + 32, OCC)
gemm_w4a16(const unsigned char* weights, MAP a, void* c, float* sums, int* flags, int M, int N, int K, int whole) {
    extern __shared__ unsigned char raw[];
    unsigned char* a_tiles = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* staging = a_tiles + STAGES * A_BYTES;
    unsigned char* w_tiles = staging + WG * 128 * CQ;
    u64* full = reinterpret_cast<u64*>(w_tiles + STAGES * W_BYTES);
    u64* empty = full + STAGES;
    const int group = threadIdx.x / 128;

    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; ++s) barrier_init(full + s, 1), barrier_init(empty + s, WG * 4);
        barrier_init_done();
        tma_prefetch(a);
    }
    __syncthreads();
    allow_next();

    const int blocks = (N + 63) / 64, groups = K / 128, tiles_q = (M + BQ - 1) / BQ, workers = gridDim.x;
    Schedule schedule((blocks + BLOCKS - 1) / BLOCKS * tiles_q, whole, groups, blockIdx.x, workers);
    Ring<STAGES> ring;

    if (group == WG) {  // the producer: one thread fills the ring
        if (threadIdx.x == WG * 128) {
            const u64 tokens = evict_last(), once = evict_first();
            auto load_weights = [&](const Schedule& at, int slot, int k) {
                const int block = at.tile / tiles_q * BLOCKS, bytes = min(BLOCKS, blocks - block) * UNIT_BYTES;
                barrier_expect(full + slot, bytes + A_BYTES);
                bulk_load(w_tiles + slot * W_BYTES, unit_place(weights, block, k, blocks, groups), bytes, full + slot, once);
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
                    for (int half = 0; half < 2; ++half)
                        tma_load(a_tiles + ring.stage * A_BYTES + half * BQ * 128, a, full + ring.stage, k * 128 + half * 64,
                                 schedule.tile % tiles_q * BQ, tokens);
                }
        }
        return;
    }
    const int thread = threadIdx.x % 128, barrier = 1 + group;
    previous_done();
    while (schedule.next(workers)) {
        float sum[RB * BQ / 2] = {}, part[RB][BQ / 2] = {};  // of all k so far; of the present group, without its scales
        u32 operands[2][4][4], scales[RB] = {};
        int before = -1;
        auto finish = [&](int r) { written(part[r]), add_scaled(sum + r * BQ / 2, part[r], scales[r]); };
        auto give_back = [&] {
            __syncwarp();  // one lane gives back what all have read
            if (thread % 32 == 0 && before >= 0) barrier_arrive(empty + before);
        };
#pragma unroll 1
        for (int k = schedule.k; k < schedule.k_end; ++k, ring.next()) {
            barrier_wait(full + ring.stage, ring.phase);
            const unsigned char* units = w_tiles + ring.stage * W_BYTES + group * RB * UNIT_BYTES;
            const u64 columns = uniform(operand(a_tiles + ring.stage * A_BYTES));
            auto load = [&](int i) { return *reinterpret_cast<const uint4*>(units + i / 2 * UNIT_BYTES + i % 2 * 2048 + thread * 16); };
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
                        wgmma_rs<BQ>(part[r], operands[half][step], columns + half * BQ * 8 + step * 2, half + step > 0);
                    wgmma_commit();
                    if (r * 2 + half + 1 < RB * 2) codes = load(r * 2 + half + 1);
                    if (r + half > 0) wgmma_wait<1>();  // of the half before: its operands may be overwritten, its sums read
                    if (RB > 1 && half == 0) finish((r + RB - 1) % RB);
                    if (r + half == 0) give_back();
                    if (half == 0) scales[r] = *reinterpret_cast<const u32*>(units + r * UNIT_BYTES + UNIT_CODES + thread / 4 * 4);
                }
            before = ring.stage;
        }
        wgmma_wait<0>();
        finish(RB - 1), give_back();
        if (!settle<RB * BQ / 2, float, AHEAD>(schedule, sum, sums, flags, schedule.worker * WG + group, WG, thread, barrier)) continue;
        const int row = (schedule.tile / tiles_q * WG + group) * RB * 64, token = schedule.tile % tiles_q * BQ;
#pragma unroll
        for (int r = 0; r < RB; ++r)
            store_tile<BQ>(reinterpret_cast<float (&)[BQ / 2]>(sum[r * BQ / 2]), c, staging + group * 128 * CQ, row + r * 64, token, N, M, 1.0f,
                           nullptr, nullptr, thread);
    }
}
