// From accumulators to C: scaled, rounded to bf16, through shared memory, out by TMA.
//
// A block of 64 rows (of P) by N columns (of Q) goes in pieces of 64 x CQ, two buffers in turn, so that a store is under way while the
// next piece is written. The pieces have the swizzle of the tensor map, over rows of 128 bytes or, for CQ = 32 columns, of 64:
// stmatrix's eight rows fall into different banks.
#pragma once
#include "sm90.h"

DEVICE float scaled(float value, float alpha, float row, float col) {
#if TYPE == 2
    return value * alpha;  // both operands' per-tensor scales
#else
    return value;
#endif
}
DEVICE float scaled(int value, float alpha, float row, float col) { return (float)value * row * col; }

// `pieces` are two buffers of 64 * CQ elements for this warpgroup, `buffer` says which is next; p0 and q0 are where the block lies in P's rows and Q's rows.
template <int N, typename T>
DEVICE void store_tile(const T (&sum)[N / 2], const TensorMap& c, unsigned char* pieces, int p0, int q0, int P, int Q, float alpha,
                       const float* scale_p, const float* scale_q, int thread, int barrier, int& buffer) {
    const int warp = thread / 32, lane = thread % 32;
    float row_scale[2] = {1.0f, 1.0f};
#if TYPE == 3
    for (int h = 0; h < 2; ++h) row_scale[h] = scale_p[min(p0 + warp * 16 + lane / 4 + 8 * h, P - 1)];
#endif
#pragma unroll
    for (int piece = 0; piece < N / CQ; ++piece, buffer ^= 1) {
        unsigned char* to = pieces + buffer * (64 * CQ * 2);
        if (thread == 0) tma_store_wait<1>();  // the store before last has read this buffer
        named_barrier(barrier, 128);
#pragma unroll
        for (int i = 0; i < CQ / 8; i += 2) {
            u32 packed[4];  // rows 0-7 and 8-15 of eight columns, then of the next eight
#pragma unroll
            for (int j = 0; j < 2; ++j)
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const int column = piece * (CQ / 8) + i + j, at = 4 * min(column, N / 8 - 1) + 2 * h;
                    float col_scale[2] = {1.0f, 1.0f};
#if TYPE == 3
                    for (int e = 0; e < 2; ++e) col_scale[e] = scale_q[min(q0 + column * 8 + lane % 4 * 2 + e, Q - 1)];
#endif
                    packed[2 * j + h] = pack_bf16(scaled(sum[at], alpha, row_scale[h], col_scale[0]), scaled(sum[at + 1], alpha, row_scale[h], col_scale[1]));
                }
#if SWAP
            int row = i * 8 + lane % 8 + lane / 16 * 8, chunk = warp * 2 + lane / 8 % 2;
            if (CQ > 8)
                store_matrices_transposed(to + row * 128 + (chunk ^ row % 8) * 16, packed[0], packed[1], packed[2], packed[3]);
            else
                row %= 8, store_matrices_transposed(to + row * 128 + (chunk ^ row % 8) * 16, packed[0], packed[1]);
#else
            int row = warp * 16 + lane % 16, chunk = i + lane / 16;
            store_matrices(to + row * CQ * 2 + (chunk ^ (CQ == 64 ? row % 8 : row / 2 % 4)) * 16, packed[0], packed[1], packed[2], packed[3]);
#endif
        }
        fence_async();
        named_barrier(barrier, 128);
        if (thread == 0) {
            const int q = q0 + piece * CQ;
            SWAP ? tma_store(c, to, p0, q) : tma_store(c, to, q, p0);
        }
    }
}
