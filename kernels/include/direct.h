// From a warpgroup's accumulators straight to C: the epilogue of the ladder's steps before k15.
//
// Each thread stores pairs of bf16: a warp's store covers 8 rows of 16 bytes, so every sector of 32 bytes is written in two halves.
#pragma once
#include "sm90.h"

// Rows row0 .. row0 + 63 and columns col0 .. col0 + N - 1 of C; cols is even.
template <int N>
DEVICE void store_direct(const float (&sum)[N / 2], unsigned short* c, int row0, int col0, int rows, int cols, int thread) {
    const int row = row0 + thread / 32 * 16 + thread % 32 / 4, col = col0 + thread % 4 * 2;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        if (row + 8 * h >= rows) continue;
        unsigned short* to = c + (long long)(row + 8 * h) * cols + col;
#pragma unroll
        for (int i = 0; i < N / 8; ++i)
            if (col + 8 * i < cols) vector_store(to + 8 * i, pack_bf16(sum[4 * i + 2 * h], sum[4 * i + 2 * h + 1]));
    }
}
