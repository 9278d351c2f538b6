// From accumulators to C: scaled, finished, rounded, through shared memory, out in whole sectors, every warp for itself.
//
// A warp holds 16 rows (of P) by N columns (of Q). They go in pieces of CQ columns through 32 * CQ bytes of shared memory that nobody else
// touches: stmatrix in, 16 bytes a lane out, ordinary stores. A store by TMA (k15) takes two barriers of the warpgroup a piece, and waits
// until the unit has read the buffer of the piece before last; here a warp waits for its own lanes alone.
// A kernel's parameter EPILOGUE says what else happens while the sums are in registers, in either order of the operands:
//   0 nothing   1 + bias   2 gelu(x + bias), tanh form   3 + residual   4 silu(gate) * up   5 to e4m3   6 to s8
// A bias is bf16, one for each column of C. The residual is bf16, as large as C and perhaps C itself: a piece of it comes the way that the
// piece will leave by. For 4 the weight's rows take turns in eights, 8 of gate, 8 of up: then the thread that holds a gate holds its up, 8
// columns (or, SWAP, 8 rows) further, and C has half as many columns. 5 divides by out_scale[0], 6 by out_scale[token] and limits to 127.
// Rows of C are multiples of 16 bytes.
#pragma once
#include "sm90.h"
#ifndef EPILOGUE
#define EPILOGUE 0
#endif

#define SPAN (EPILOGUE == 4 && !SWAP ? 2 * CQ : CQ)  // columns of Q in a piece
#define HALF (EPILOGUE >= 4 ? 2 : 1)
#define PIECE_ROWS (SWAP ? CQ : 16)  // of a warp's piece, which lies as C does
#define ROW_BYTES (SWAP ? 32 / HALF : EPILOGUE >= 5 ? CQ : 2 * CQ)

// What the epilogues read.
struct Fused {
    const unsigned short *bias, *residual;
    const float* out_scale;
};

DEVICE float scaled(float value, float alpha, float row, float col) {
#if TYPE == 2
    return value * alpha;  // both operands' per-tensor scales
#else
    return value;
#endif
}
DEVICE float scaled(int value, float alpha, float row, float col) { return (float)value * row * col; }

DEVICE float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }
// x * (1 + tanh(u)) / 2 is x / (1 + exp(-2u)), which keeps its precision where tanh comes near -1.
DEVICE float gelu(float x) { return __fdividef(x, 1.0f + __expf(-1.5957691216f * x * (1.0f + 0.044715f * x * x))); }

// Two values as bytes, the first one low.
DEVICE u32 pack_bytes(float low, float high) {
#if EPILOGUE == 6
    auto limited = [](float v) { return min(max(__float2int_rn(v), -127), 127) & 0xff; };
    return limited(low) | limited(high) << 8;
#else
    return pack_e4m3(low, high);
#endif
}

// What happens to values at neighbouring columns of Q.
struct Finish {
    float row[2];  // what P's rows bring: a bias where they are outputs, 1 / scale where they are tokens

    MEMBER Finish(const Fused& fused, int p, int P) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int at = min(p + 8 * h, P - 1);
            if ((EPILOGUE == 1 || EPILOGUE == 2) && SWAP) row[h] = float_of_bf16(fused.bias[at]);
            if (EPILOGUE == 5) row[h] = 1.0f / fused.out_scale[0];
            if (EPILOGUE == 6 && !SWAP) row[h] = 1.0f / fused.out_scale[at];
        }
    }
    MEMBER void two(const Fused& fused, float& a, float& b, int h, int q, int Q) const {
        if (EPILOGUE == 1 || EPILOGUE == 2) {
            u32 pair = 0;  // C has a multiple of 8 columns
            if (!SWAP) pair = *reinterpret_cast<const u32*>(fused.bias + min(q, Q - 2));
            a += SWAP ? row[h] : float_of_bf16(pair);
            b += SWAP ? row[h] : float_of_bf16(pair >> 16);
        }
        if (EPILOGUE == 2) a = gelu(a), b = gelu(b);
        if (EPILOGUE == 5 || EPILOGUE == 6) {
            const bool own = EPILOGUE == 6 && SWAP;  // tokens are columns
            a *= own ? 1.0f / __ldg(fused.out_scale + min(q, Q - 1)) : row[h];
            b *= own ? 1.0f / __ldg(fused.out_scale + min(q + 1, Q - 1)) : row[h];
        }
    }
};

// Where 16 bytes of a piece's row lie: eight rows of a chunk, which stmatrix writes at a time, are in different banks.
DEVICE unsigned char* place(unsigned char* piece, int row, int chunk) {
    const int swizzle = ROW_BYTES == 128 ? row % 8 : ROW_BYTES == 64 ? row / 2 % 4 : ROW_BYTES == 32 ? row / 4 % 2 : 0;
    return piece + row * ROW_BYTES + (chunk ^ swizzle) * 16;
}

// 16 columns of Q as bytes, packed[2 * j + h] two neighbouring columns. Where C lies the other way round, lanes 4 apart, which hold
// neighbours in P, exchange a byte, so that here too a store is of two neighbours in C.
DEVICE void store_bytes(unsigned char* to, const u32 (&packed)[4], int lane, int i) {
#pragma unroll
    for (int part = 0; part < (CQ == 8 ? 2 : 4); ++part) {
        const int column = (i + part / 2) * 8 + lane % 4 * 2, h = part % 2, odd = lane / 4 % 2;
        u32 pair = packed[part];
        unsigned char* at = place(to, SWAP ? column : lane / 4 + 8 * h, column / 16) + column % 16;
        if (SWAP) {
            const u32 other = __shfl_xor_sync(0xffffffffu, odd ? pair : pair >> 8, 4) & 0xff;
            pair = odd ? other | pair & 0xff00 : pair & 0xff | other << 8;
            at = place(to, column + odd, 0) + 8 * h + (lane / 4 & 6);
        }
        *reinterpret_cast<unsigned short*>(at) = pair;
    }
}

// What the residual has where the thread has its sums.
DEVICE void load_residual(unsigned char* piece, u32 (&before)[4], int lane, int i) {
    if (SWAP)
        load_matrices_transposed(place(piece, CQ == 8 ? lane % 8 : i * 8 + lane % 8 + lane / 16 * 8, lane / 8 % 2), before);
    else
        load_matrices(place(piece, lane % 16, i + lane / 16), before);
}

// p0 and q0 are where the warpgroup's block of 64 by N lies in P's rows and Q's rows; `pieces` are 128 * CQ bytes of its own.
template <int N, typename T>
DEVICE void store_tile(const T (&sum)[N / 2], void* c, unsigned char* pieces, int p0, int q0, int P, int Q, float alpha, const float* scale_p,
                       const float* scale_q, int thread, const Fused& fused = {}) {
    const int warp = thread / 32, lane = thread % 32;
    unsigned char* to = pieces + warp * 32 * CQ;
    p0 += warp * 16;
    float row_scale[2] = {1.0f, 1.0f};
#if TYPE == 3
    for (int h = 0; h < 2; ++h) row_scale[h] = scale_p[min(p0 + lane / 4 + 8 * h, P - 1)];
#endif
    const Finish finish(fused, p0 + lane / 4, P);
    // Two neighbours in row half h of Q's columns 8 * column and on.
    auto values = [&](int column, int h, float& a, float& b) {
        const int at = 4 * min(column, N / 8 - 1) + 2 * h, q = q0 + column * 8 + lane % 4 * 2;
        float col_scale[2] = {1.0f, 1.0f};
#if TYPE == 3
        for (int e = 0; e < 2; ++e) col_scale[e] = scale_q[min(q + e, Q - 1)];
#endif
        a = scaled(sum[at], alpha, row_scale[h], col_scale[0]), b = scaled(sum[at + 1], alpha, row_scale[h], col_scale[1]);
        finish.two(fused, a, b, h, q, Q);
    };
    // Calls `move` with every 16 bytes of the piece at column q that are this lane's: where they lie in the piece, and in C.
    const int pitch = (SWAP ? P : Q) * 2 / HALF;
    auto each = [&](int q, auto&& move) {
        constexpr int CHUNKS = ROW_BYTES / 16;
#pragma unroll
        for (int i = 0; i < (PIECE_ROWS * CHUNKS + 31) / 32; ++i) {
            const int at = i * 32 + lane, row = at / CHUNKS, chunk = at % CHUNKS;
            const int of_c = (SWAP ? q : p0) + row, byte = (SWAP ? p0 : q) * 2 / HALF + chunk * 16;
            if (at < PIECE_ROWS * CHUNKS && of_c < (SWAP ? Q : P) && byte < pitch)
                move(reinterpret_cast<uint4*>(place(to, row, chunk)), (long long)of_c * pitch + byte);
        }
        __syncwarp();
    };
#pragma unroll
    for (int piece = 0; piece < N / SPAN; ++piece) {
        const int q = q0 + piece * SPAN;
        if (EPILOGUE == 3)
            each(q, [&](uint4* here, long long there) {
                *here = *reinterpret_cast<const uint4*>(reinterpret_cast<const char*>(fused.residual) + there);
            });
#pragma unroll
        for (int i = 0; i < CQ / 8; i += 2) {
            u32 packed[4], before[4];  // rows 0-7 and 8-15 of eight columns, then of the next eight
            if (EPILOGUE == 3) load_residual(to, before, lane, i);
#pragma unroll
            for (int j = 0; j < 2; ++j)
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const int column = piece * (CQ / 8) + i + j;
                    float a, b, up_a, up_b;
                    if (EPILOGUE == 4) {  // matrices of the result: columns j, and rows h or, SWAP, none
                        if (SWAP && h == 1) continue;
                        values(SWAP ? column : 2 * column, h, a, b), values(SWAP ? column : 2 * column + 1, SWAP ? 1 : h, up_a, up_b);
                        packed[SWAP ? j : 2 * j + h] = pack_bf16(silu(a) * up_a, silu(b) * up_b);
                        continue;
                    }
                    values(column, h, a, b);
                    if (EPILOGUE == 3) a += float_of_bf16(before[2 * j + h]), b += float_of_bf16(before[2 * j + h] >> 16);
                    packed[2 * j + h] = EPILOGUE < 5 ? pack_bf16(a, b) : pack_bytes(a, b);
                }
            // Of the matrices: the row and its 16 bytes whose address this lane says.
            int row = !SWAP ? lane % 16 : i * 8 + lane % 8 + (EPILOGUE == 4 ? lane / 8 % 2 : lane / 16) * 8;
            const int chunk = !SWAP ? i + lane / 16 : EPILOGUE == 4 ? 0 : lane / 8 % 2;
            if (EPILOGUE >= 5)
                store_bytes(to, packed, lane, i);
            else if (!SWAP)
                store_matrices(place(to, row, chunk), packed[0], packed[1], packed[2], packed[3]);
            else if (CQ > 8 && EPILOGUE != 4)
                store_matrices_transposed(place(to, row, chunk), packed[0], packed[1], packed[2], packed[3]);
            else {
                if (CQ == 8) row %= 8;
                store_matrices_transposed(place(to, row, chunk), packed[0], packed[1]);
            }
        }
        __syncwarp();
        each(q, [&](uint4* here, long long there) { *reinterpret_cast<uint4*>(static_cast<char*>(c) + there) = *here; });
    }
}
