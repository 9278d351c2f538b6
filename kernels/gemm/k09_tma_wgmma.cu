// k09: Hopper's own instructions.
//
// Changes k08: one thread asks the TMA unit for a whole tile, 64 columns of k by 64 or BN rows; the unit computes the addresses, swizzles, fills
// with zeros beyond the edges, and an mbarrier says when the bytes have landed. A warpgroup of 128 threads multiplies 64 x BN x 16 in one
// instruction, wgmma, which reads both operands from shared memory itself. One stage: load, wait, multiply, wait.
// Gain: wgmma is the only way to the tensor cores' full rate, 2048 multiply-adds a clock and multiprocessor; mma.sync reaches about two
// thirds. No fragment passes the registers, so 4 + 4 instructions do what took 64 products, 24 ldmatrix and 8 copies a thread.
// What it leaves: within a block nothing overlaps. Only that several blocks share a multiprocessor keeps its tensor cores busy.
// From here on rows of A and B are multiples of 16 bytes, and N is even: what TMA cannot address is k08's.
// BN = 128: an instruction reads (64 + BN) * 32 bytes of shared memory in BN / 2 clocks, 96 a clock of the 128 that there are. With BN = 64
// (variant `square`) it would be all 128.
//@ entry: gemm_tma_wgmma
//@ arch: sm_90a
//@ param: BM=64 BN=128
//@ variant: square BN=64
//@ threads: 128
//@ smem: 1024 + (BM+BN)*128
//@ grid: cdiv(M,BM), cdiv(N,BN)
//@ map a: bf16 [M, K] box [BM, 64]
//@ map b: bf16 [N, K] box [BN, 64]
//@ args: a b c M N K
//@ expect: sm_90a HGMMA.64x>=4 UTMALDG.2D>=2

#include "wgmma.h"
#include "direct.h"

KERNEL void __launch_bounds__(128) gemm_tma_wgmma(MAP a, MAP b, unsigned short* c, int M, int N, int K) {
    extern __shared__ unsigned char raw[];
    unsigned char* a_tile = raw + (1024 - shared_address(raw) % 1024) % 1024;
    unsigned char* b_tile = a_tile + BM * 128;
    __shared__ u64 full;
    const int row0 = blockIdx.x * BM, col0 = blockIdx.y * BN, ksteps = (K + 63) / 64;

    if (threadIdx.x == 0) {
        barrier_init(&full, 1);
        barrier_init_done();
    }
    __syncthreads();

    const u64 rows = operand(a_tile), columns = operand(b_tile);
    Accumulator sum[BN / 2];
    for (int k = 0; k < ksteps; ++k) {
        if (threadIdx.x == 0) {
            barrier_expect(&full, (BM + BN) * 128);
            tma_load(a_tile, a, &full, k * 64, row0);
            tma_load(b_tile, b, &full, k * 64, col0);
        }
        barrier_wait(&full, k % 2);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < 4; ++step) wgmma<BN>(sum, rows + step * 2, columns + step * 2, k + step > 0);
        wgmma_commit();
        wgmma_wait<0>();
        __syncthreads();  // all have read the tiles
    }
    store_direct<BN>(sum, c, row0, col0, M, N, threadIdx.x);
}
