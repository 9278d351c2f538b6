// The tensor cores through `mma.sync`, the instruction of sm_80: what a kernel leaves that does not move to `wgmma`.
//
// Hopper's tensor cores do 2048 bf16 FMAs a cycle and multiprocessor (989 TFLOP/s by the data sheet, 1.83 GHz, 132 of them). An
// m16n8k16 is 2048 of them, so one a cycle would be the peak. Hypothesis: fragments that come from registers, warp by warp, do not
// feed the cores fast enough; others measured 63% on an H100. Prediction: 1290 FMAs a cycle and multiprocessor, with 16 warps of four
// independent accumulators each.
//@ entry: hmma_rate
//@ arch: sm_80 sm_90a sm_100a
//@ param: WARPS=16 ILP=4
//@ threads: WARPS*32
//@ grid: SMS
//@ args: a b c cycles ROUNDS
//@ expect: sm_90a HMMA.16816.F32.BF16>=4

#include "micro.h"

// c[16, 8*ILP] = ROUNDS * a[16, 16] * b[8*ILP, 16]^T; a and b in pairs of bf16 along k, 8 pairs a row. Every warp does the same.
KERNEL void hmma_rate(GLOBAL(const unsigned) a, GLOBAL(const unsigned) b, GLOBAL(float) c, GLOBAL(u64) cycles, int ROUNDS) {
    int group = threadIdx.x % WARP / 4, pair = threadIdx.x % 4;
    unsigned row[4], col[ILP][2];
    float sum[ILP][4] = {};
    for (int i = 0; i < 4; ++i) row[i] = a[(group + i % 2 * 8) * 8 + pair + i / 2 * 4];
#pragma unroll
    for (int j = 0; j < ILP; ++j)
        for (int i = 0; i < 2; ++i) col[j][i] = b[(j * 8 + group) * 8 + pair + i * 4];
    __syncthreads();
    u64 begin = now();
#pragma unroll 4
    for (int round = 0; round < ROUNDS; ++round) {
#pragma unroll
        for (int j = 0; j < ILP; ++j)
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                         "{%0, %1, %2, %3};"
                         : "+f"(sum[j][0]), "+f"(sum[j][1]), "+f"(sum[j][2]), "+f"(sum[j][3])
                         : "r"(row[0]), "r"(row[1]), "r"(row[2]), "r"(row[3]), "r"(col[j][0]), "r"(col[j][1]));
    }
    __syncthreads();
    if (threadIdx.x == 0) cycles[blockIdx.x] = now() - begin;
    // Every warp stores the same values: none of them can be left out.
#pragma unroll
    for (int j = 0; j < ILP; ++j)
        for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 * ILP + j * 8 + pair * 2 + i % 2] = sum[j][i];
}
