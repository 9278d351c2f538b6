// RDNA: the same GEMM on RDNA3's WMMA units (Radeon 7900), where a wave has 32 lanes and no accumulation registers.
//
// C[M, N] = A[M, K] * B[N, K]^T, k innermost in both: bf16 with f32 sums and a bf16 result, or int8 with an i32 result (BITS=8).
// What changes against cdna_mfma: both halves of a wave give the same operand rows, so a lane reads 32 bytes of a row for 16 values of k
// and LDS is read twice as often for the same work; eight smaller waves a block instead of four keep a lane below 256 registers.
// Should gain, against the same tile on the vector units: 512 instead of 256 operations a cycle and CU.
// As there: the next tile waits in registers while this one is multiplied, and a lane's results are consecutive columns of C.
// Compiled and disassembled; run in an emulator, by hand (tests/amd_run.rs). Never on a GPU: nothing is known of its speed.
//@ entry: gemm_rdna
//@ arch: gfx1100
//@ param: BM=128 BN=128 WM=2 WN=4 BITS=16
//@ variant: int8 BITS=8
//@ variant: small BM=64 BN=64 WM=2 WN=2
//@ threads: 32*WM*WN
//@ grid: cdiv(M,BM)*cdiv(N,BN)
//@ args: a b c M N K
//@ expect: gfx1100 v_wmma_f32_16x16x16_bf16>=32 ds_load_b128>=48 ds_store_b128>=8 global_load_b128>=16 global_store_b128>=8

#include "rdna.h"

#if BITS == 8
typedef Int8 Element;
#else
typedef Bf16 Element;
#endif

KERNEL void gemm_rdna(GLOBAL(const Element) a, GLOBAL(const Element) b, GLOBAL(Element::Out) c, int M, int N, int K) {
    constexpr int THREADS = WARP * WM * WN, TM = BM / WM / 16, TN = BN / WN / 16, BK = 128 / sizeof(Element);
    SHARED(Chunk, tile_a, BM * CHUNKS);
    SHARED(Chunk, tile_b, BN * CHUNKS);
    TileAt at = tile_order<1, 8>(blockIdx.x, (M + BM - 1) / BM, (N + BN - 1) / BN);
    int wave_m = wave_index() % WM, wave_n = wave_index() / WM;

    Panel<Element, BM, THREADS> panel_a(a, at.m * BM, M, K);
    Panel<Element, BN, THREADS> panel_b(b, at.n * BN, N, K);
    Fragment<TM> rows(wave_m);
    Fragment<TN> columns(wave_n);
    Element::Sum sum[TM][TN] = {};

    panel_a.fetch(0, K);
    panel_b.fetch(0, K);
    for (int k = 0; k < K; k += BK) {
        panel_a.store<8 * TM>(tile_a);
        panel_b.store<8 * TN>(tile_b);
        __syncthreads();
        if (k + BK < K) {
            panel_a.fetch(k + BK, K);
            panel_b.fetch(k + BK, K);
        }
        for (int step = 0; step < CHUNKS / Element::DEPTH; ++step) {
            Chunk part_a[TM][Element::DEPTH], part_b[TN][Element::DEPTH];
            rows.read(tile_a, step, part_a);
            columns.read(tile_b, step, part_b);
            for (int i = 0; i < TM; ++i)
                for (int j = 0; j < TN; ++j) sum[i][j] = Element::mma(part_b[j], part_a[i], sum[i][j]);
        }
        __syncthreads();
    }

    int n = at.n * BN + wave_n * TN * 16 + threadIdx.x % WARP / 16 * (8 * TN);
    for (int i = 0; i < TM; ++i) {
        int m = at.m * BM + rows.row + i * 8;
        Results<Element::Out, 8 * TN> results;
        for (int j = 0; j < TN; ++j)
            for (int r = 0; r < 8; ++r) results[j * 8 + r] = (Element::Out)sum[i][j][r];
        if (m < M) write_row<Element::Out, 8 * TN>(c + (long)m * N + n, results, N - n);
    }
}
