// The tensor cores through `wgmma`: operands straight from shared memory, by the width N of the instruction.
//
// An m64nNk16 is 1024*N FMAs, N/2 cycles at the peak of 2048 a cycle. It reads A (64 rows of 32 bytes) and B (N rows of 32 bytes)
// from shared memory at 128 bytes a cycle: 16 + N/4 cycles. Prediction, cycles an instruction: the larger of the two: 18, 20, 24, 32,
// 64, 128 for N = 8, 16, 32, 64, 128, 256. So from N = 64 on the peak is reached, and an 8-row decode costs as much as an 11-row
// one would. On the whole chip N = 256 makes 1070 TFLOP/s at 1.98 GHz; less, if the power does not last for that clock.
//@ entry: wgmma_rate
//@ arch: sm_90a
//@ param: N=256 GROUPS=2
//@ variant: n8 N=8
//@ variant: n16 N=16
//@ variant: n32 N=32
//@ variant: n64 N=64
//@ variant: n128 N=128
//@ variant: alone GROUPS=1
//@ threads: GROUPS*128
//@ grid: SMS
//@ args: a b c cycles ROUNDS
//@ expect: sm_90a HGMMA.64x>=4

#include "micro.h"

// The accumulators' places in the instruction's text, and the accumulators themselves.
#define AT4 "%0, %1, %2, %3"
#define AT8 AT4 ", %4, %5, %6, %7"
#define AT16 AT8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define AT32 AT16 \
    ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define AT64 AT32 \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
    ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define AT128 AT64 \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
    ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95" \
    ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
    ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define C4(i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3])
#define C8(i) C4(i), C4(i + 4)
#define C16(i) C8(i), C8(i + 8)
#define C32(i) C16(i), C16(i + 16)
#define C64(i) C32(i), C32(i + 32)
#define C128(i) C64(i), C64(i + 64)
#define MULTIPLY(n, at, registers, first, second)                                                                          \
    asm volatile("{ .reg .pred yes; setp.eq.u32 yes, 0, 0;\n"                                                              \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" at "}, %" #first ", %" #second               \
                 ", yes, 1, 1, 0, 0; }"                                                                                    \
                 : registers                                                                                               \
                 : "l"(a), "l"(b))

// c[64, N] += A[64, 16] * B[N, 16]^T
DEVICE void multiply(float (&c)[N / 2], u64 a, u64 b) {
#if N == 8
    MULTIPLY(8, AT4, C4(0), 4, 5);
#elif N == 16
    MULTIPLY(16, AT8, C8(0), 8, 9);
#elif N == 32
    MULTIPLY(32, AT16, C16(0), 16, 17);
#elif N == 64
    MULTIPLY(64, AT32, C32(0), 32, 33);
#elif N == 128
    MULTIPLY(128, AT64, C64(0), 64, 65);
#else
    MULTIPLY(256, AT128, C128(0), 128, 129);
#endif
}

// Rows of 64 bf16 (128 bytes) into shared memory as the tensor cores want them: 16-byte column XOR row % 8.
DEVICE void stage(uint4* to, GLOBAL(const uint4) from, int rows) {
    for (int i = threadIdx.x; i < rows * 8; i += GROUPS * 128) to[i / 8 * 8 + (i % 8 ^ i / 8 % 8)] = from[i];
}

// What `wgmma` is told of such rows: address, 1024 bytes from eight rows to the next eight, 128-byte swizzle.
DEVICE u64 descriptor(const uint4* rows) {
    return (shared_address(rows) & 0x3ffff) >> 4 | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// c[64, N] = ROUNDS * a[64, 64] * b[N, 64]^T, by every warpgroup.
KERNEL void __launch_bounds__(GROUPS * 128, 1)
wgmma_rate(GLOBAL(const uint4) a, GLOBAL(const uint4) b, GLOBAL(float) c, GLOBAL(u64) cycles, int ROUNDS) {
    __shared__ alignas(1024) uint4 rows_a[64 * 8], rows_b[N * 8];
    stage(rows_a, a, 64);
    stage(rows_b, b, N);
    // The tensor cores read shared memory by another way than the stores above wrote it.
    asm volatile("fence.proxy.async.shared::cta;" : : : "memory");
    float sum[N / 2] = {};
    u64 left = descriptor(rows_a), right = descriptor(rows_b);
    __syncthreads();
    u64 begin = now();
#pragma unroll 1
    for (int round = 0; round < ROUNDS; ++round) {
        asm volatile("wgmma.fence.sync.aligned;" : : : "memory");
        // Four steps of 16 along k; 32 bytes are 2 in a descriptor.
#pragma unroll
        for (int k = 0; k < 4; ++k) multiply(sum, left + 2 * k, right + 2 * k);
        asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory");
        asm volatile("wgmma.wait_group.sync.aligned 1;" : : : "memory");
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" : : : "memory");
    __syncthreads();
    if (threadIdx.x == 0) cycles[blockIdx.x] = now() - begin;
    int row = threadIdx.x % 128 / WARP * 16 + threadIdx.x % WARP / 4, col = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) c[(row + i / 2 % 2 * 8) * N + i / 4 * 8 + col + i % 2] = sum[i];
}
