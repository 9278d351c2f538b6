// From accumulators to C by TMA, for k15 and k16: rounded to bf16, through shared memory, out as boxes of 64 rows by 64 columns.
//
// Two buffers in turn, so that a store is under way while the next piece is written. Pieces have the tensor map's swizzle, over rows of
// 128 bytes: stmatrix's eight rows fall into different banks.
#pragma once
#include "sm90.h"

// `pieces` are two buffers of 64 x 64 elements for this warpgroup; `turn` says whose turn it is. p0 and q0 are where the block of 64 rows
// by N columns lies in C.
template <int N>
DEVICE void store_tile_tma(const float (&sum)[N / 2], const TensorMap& c, unsigned char* pieces, int p0, int q0, int thread, int barrier,
                           int& turn) {
    const int warp = thread / 32, lane = thread % 32;
#pragma unroll
    for (int piece = 0; piece < N / 64; ++piece, turn ^= 1) {
        unsigned char* to = pieces + turn * (64 * 128);
        if (thread == 0) tma_store_wait<1>();  // the store before last has read this buffer
        named_barrier(barrier, 128);
#pragma unroll
        for (int i = 0; i < 8; i += 2) {
            u32 packed[4];  // rows 0-7 and 8-15 of eight columns, then of the next eight
#pragma unroll
            for (int part = 0; part < 4; ++part) {
                const int at = 4 * (piece * 8 + i + part / 2) + 2 * (part % 2);
                packed[part] = pack_bf16(sum[at], sum[at + 1]);
            }
            const int row = warp * 16 + lane % 16, chunk = i + lane / 16;
            store_matrices(to + row * 128 + (chunk ^ row % 8) * 16, packed[0], packed[1], packed[2], packed[3]);
        }
        fence_async();
        named_barrier(barrier, 128);
        if (thread == 0) tma_store(c, to, q0 + piece * 64, p0);
    }
}
