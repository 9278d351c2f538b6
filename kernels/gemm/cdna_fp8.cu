// CDNA3: the GEMM on e4m3 operands, with a scale for every row of A (a token) and every row of B (an output channel).
//
// C[m, n] = scale_a[m] * scale_b[n] * sum_k A[m, k] * B[n, k], sums in f32, result in bf16.
// What changes since cdna_mfma: an instruction takes 32 values of k where bf16 took 16, so a tile's 128 bytes hold twice the k, and both
// scales are applied once, on the sums. MI300 reads e4m3 in its FNUZ form (bias 8): whoever stores OCP's e4m3 doubles the scale instead of
// converting, for every code but OCP's NaN and minus zero (see Fp8 in cdna.h).
// Should gain: half the bytes and twice the rate of bf16.
// Compiled and disassembled; run by hand (tests/amd_run.rs) in an emulator that reads the codes as OCP's, so FNUZ itself was not seen. Never
// on a GPU: nothing is known of its speed.
//@ entry: gemm_cdna_fp8
//@ arch: gfx942
//@ param: BM=128 BN=128 WM=2 WN=2
//@ variant: wide BM=256 BN=256 WM=2 WN=4
//@ threads: 64*WM*WN
//@ grid: cdiv(M,BM)*cdiv(N,BN)
//@ args: a b scale_a scale_b c M N K
//@ expect: gfx942 v_mfma_f32_16x16x32_fp8_fp8>=64 ds_read_b128>=16 ds_write_b128>=8 global_load_dwordx4>=16 global_store_dwordx4>=8

#include "cdna.h"

KERNEL void gemm_cdna_fp8(GLOBAL(const Fp8) a, GLOBAL(const Fp8) b, GLOBAL(const float) scale_a, GLOBAL(const float) scale_b,
                          GLOBAL(Fp8::Out) c, int M, int N, int K) {
    typedef Fp8 Element;
    constexpr int THREADS = WARP * WM * WN, TM = BM / WM / 16, TN = BN / WN / 16, BK = 128;
    SHARED(Chunk, tile_a, BM * CHUNKS);
    SHARED(Chunk, tile_b, BN * CHUNKS);
    TileAt at = tile_order<XCDS, 8>(blockIdx.x, (M + BM - 1) / BM, (N + BN - 1) / BN);
    int wave_m = wave_index() % WM, wave_n = wave_index() / WM;

    Panel<Element, BM, THREADS> panel_a(a, at.m * BM, M, K);
    Panel<Element, BN, THREADS> panel_b(b, at.n * BN, N, K);
    Fragment<TM> rows(wave_m);
    Fragment<TN> columns(wave_n);
    Element::Sum sum[TM][TN] = {};

    panel_a.fetch(0, K);
    panel_b.fetch(0, K);
    for (int k = 0; k < K; k += BK) {
        panel_a.store<4 * TM>(tile_a);
        panel_b.store<4 * TN>(tile_b);
        __syncthreads();
        if (k + BK < K) {
            panel_a.fetch(k + BK, K);
            panel_b.fetch(k + BK, K);
        }
        for (int step = 0; step < 2; ++step) {
            Chunk part_a[TM], part_b[TN];
            rows.read(tile_a, step, part_a);
            columns.read(tile_b, step, part_b);
            for (int i = 0; i < TM; ++i)
                for (int j = 0; j < TN; ++j) sum[i][j] = Element::mma(part_b[j], part_a[i], sum[i][j]);
        }
        __syncthreads();
    }

    int n = at.n * BN + wave_n * TN * 16 + threadIdx.x % WARP / 16 * (4 * TN);
    float column_scale[4 * TN];
    for (int j = 0; j < 4 * TN; ++j) column_scale[j] = scale_b[min(n + j, N - 1)];
    for (int i = 0; i < TM; ++i) {
        int m = at.m * BM + rows.row + i * 4;
        if (m >= M) continue;
        float row_scale = scale_a[m];
        Results<Fp8::Out, 4 * TN> results;
        for (int j = 0; j < TN; ++j)
            for (int r = 0; r < 4; ++r) results[j * 4 + r] = (Fp8::Out)(sum[i][j][r] * row_scale * column_scale[j * 4 + r]);
        write_row<Fp8::Out, 4 * TN>(c + (long)m * N + n, results, N - n);
    }
}
