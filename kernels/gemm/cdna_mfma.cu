// CDNA: a GEMM on the matrix cores of MI200 and MI300, staged through registers.
//
// C[M, N] = A[M, K] * B[N, K]^T, k innermost in both: bf16 with f32 sums and a bf16 result, or int8 with an i32 result (BITS=8).
// What differs from Hopper: nothing copies global memory to LDS behind the waves' backs, so the next tile is loaded into *registers*
// while this one is multiplied (LDS is 64 KB, registers 512 KB a CU), and all waves compute, since registers are shared out evenly.
// Should gain: LDS is read 16 bytes a lane without bank conflicts, half the time that the MFMAs take; the loads hide behind those.
// With the operands swapped (D = B * A^T) and rows interleaved, a lane's results are 4*TN consecutive columns: 16-byte stores.
// MI300's eight dies have an L2 each: tile_order gives every die neighbouring tiles. Any M, N, K; rows need no alignment.
// Compiled and disassembled; gfx942's code run in an emulator, by hand (tests/amd_run.rs). Never on a GPU: nothing is known of its speed.
//@ entry: gemm_cdna
//@ arch: gfx90a gfx942
//@ param: BM=128 BN=128 WM=2 WN=2 BITS=16
//@ variant: int8 BITS=8
//@ variant: wide BM=256 BN=256 WM=2 WN=4
//@ threads: 64*WM*WN
//@ grid: cdiv(M,BM)*cdiv(N,BN)
//@ args: a b c M N K
//@ expect: gfx90a v_mfma_f32_16x16x16bf16_1k>=64 ds_read_b128>=16 ds_write_b128>=8 global_load_dwordx4>=16 global_store_dwordx4>=8
//@ expect: gfx942 v_mfma_f32_16x16x16_bf16>=64 ds_read_b128>=16 ds_write_b128>=8 global_load_dwordx4>=16 global_store_dwordx4>=8

#include "cdna.h"

#if BITS == 8
typedef Int8 Element;
#else
typedef Bf16 Element;
#endif

KERNEL void gemm_cdna(GLOBAL(const Element) a, GLOBAL(const Element) b, GLOBAL(Element::Out) c, int M, int N, int K) {
    constexpr int THREADS = WARP * WM * WN, TM = BM / WM / 16, TN = BN / WN / 16, BK = 128 / sizeof(Element);
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
    for (int i = 0; i < TM; ++i) {
        int m = at.m * BM + rows.row + i * 4;
        Results<Element::Out, 4 * TN> results;
        for (int j = 0; j < TN; ++j)
            for (int r = 0; r < 4; ++r) results[j * 4 + r] = (Element::Out)sum[i][j][r];
        if (m < M) write_row<Element::Out, 4 * TN>(c + (long)m * N + n, results, N - n);
    }
}
