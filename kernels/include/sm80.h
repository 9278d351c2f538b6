// What Ampere adds, a line each: matrix products by a warp (mma.sync), their operands from shared memory (ldmatrix), copies that pass
// the registers by (cp.async); and how a bf16 matrix is read and written at its edges. Later GPUs have all of it.
// Semantics: PTX ISA 7.0 and later, sections on mma, ldmatrix, cp.async.
#pragma once
#include "gpu.h"

typedef unsigned int u32;
typedef unsigned short u16;  // the bits of a bf16

// ---- D[16, 8] += A[16, 16] * B[8, 16]^T by a warp. Lane l holds, with r = l / 4 and q = 2 * (l % 4), pairs along k of A's rows r and r + 8 at
// k = q (a[0], a[1]) and q + 8 (a[2], a[3]), of B's row r at k = q (b[0]) and q + 8 (b[1]); of D row r (d[0], d[1]) and row r + 8 (d[2], d[3]),
// columns q and q + 1.
DEVICE void mma(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ---- Four 8x8 matrices of 16-bit elements: lane 8*i + r gives the address of row r of matrix i, 16 bytes; of each matrix a lane gets two
// neighbours of row lane / 4, columns 2 * (lane % 4) and the next: what mma wants of either operand.
DEVICE void load_matrices(const void* row, u32& a, u32& b, u32& c, u32& d) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"((u32)__cvta_generic_to_shared(row)) : "memory");
}

// ---- Copies of 16 bytes from global to shared memory; `wanted` false writes zeros and reads nothing. They are counted in groups.
DEVICE void copy_async(void* to, const void* from, bool wanted) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from), "r"(wanted ? 16 : 0) : "memory");
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most N groups of this thread are under way.
template <int N> DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// ---- edges
// Whether the rows of a matrix of `length` elements a row all begin at a multiple of 16 bytes.
DEVICE bool rows_aligned(const u16* rows, int length) { return ((unsigned long long)rows | (unsigned long long)length * 2) % 16 == 0; }

// Eight elements of a row from column k on, a multiple of 8; zeros beyond the last row and column.
DEVICE uint4 chunk_of_row(const u16* rows, int row, int k, int count, int length, bool aligned) {
    uint4 chunk = make_uint4(0, 0, 0, 0);
    if (row >= count || k >= length) return chunk;
    rows += (long long)row * length + k;
    if (aligned) return vector_load<uint4>(rows);
    const int left = length - k;
    auto pair = [&](int i) { return (i < left ? rows[i] : 0u) | (i + 1 < left ? (u32)rows[i + 1] << 16 : 0u); };
    return make_uint4(pair(0), pair(2), pair(4), pair(6));
}

// Two sums as bf16 to neighbouring columns, the first of them even; in one access where rows of C are multiples of 4 bytes.
DEVICE void store_pair(u16* c, int row, int col, int rows, int cols, float first, float second) {
    if (row >= rows || col >= cols) return;
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    c += (long long)row * cols + col;
    if (cols % 2 == 0) {
        vector_store(c, pair);
        return;
    }
    c[0] = (u16)pair;
    if (col + 1 < cols) c[1] = (u16)(pair >> 16);
}
