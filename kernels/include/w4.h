// Weights in 4 bits with a scale for each row and group of 128 along k: where they lie, and how they become operands.
//
// A unit is 16 rows x 128 k: 1024 bytes of codes and 32 of scales, 33/8 bits a weight. Units lie in the order [group of k][16 rows], so that
// a group of any number of neighbouring strips of 16 rows is one piece. Within a unit:
//   codes   [half of k][lane][16 bytes], so that a warp's 16-byte loads run through all banks in order; a lane's four words are its
//           register operands of four products of 16 rows, one after the other along k.
//   word    bits 4*j .. 4*j+3 are the lower and bits 16+4*j .. the upper element of operand register j. As mma and wgmma have it, register
//           j of lane l holds row l/4 + 8*(j%2), columns 8*(j/2) + 2*(l%4) and the next.
//   scales  bf16, [lane/4][two rows, 8 apart]: a lane's two in one word.
// A code is the weight in units of its scale, plus 8: 0..15 stand for -8..7.
#pragma once
#include "sm80.h"
#include "sm90.h"

#define UNIT_CODES 1024
#define UNIT_BYTES (UNIT_CODES + 32)

// Where group `group` of strip `strip` lies; the whole matrix has `strips` of 16 rows.
DEVICE const unsigned char* unit_place(const unsigned char* weights, int strip, int group, int strips) {
    return weights + ((long long)group * strips + strip) * UNIT_BYTES;
}

// Eight weights, as quarters of the code less 8, in one shift, 4 LOP3 and 4 packed FMAs; all of it exact.
// Codes at bits 0 to 3 of the halves, in the low mantissa bits of 128.0, 0x4300 in bf16, whose unit is 1, make 128 + code. Codes at bits 4 to 7
// are left where they are: below 2^-125 bf16 is a fixed-point number, bit 0 is 2^-133 and bit 7, the lowest of the exponent, goes on counting.
// They are code * 2^-129, and 2^127 = 0x7f00 makes quarters of them, which is why the others become quarters too. to_wholes makes up for it.
DEVICE void dequantise(u32 word, u32 (&to)[4]) {
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
        const u32 shifted = word >> 4 * j;
        u32 raised;  // (shifted & mask) | magic, by LOP3's table for (a & b) | c
        asm("lop3.b32 %0, %1, 0x000f000f, %2, 0xea;" : "=r"(raised) : "r"(shifted), "r"(0x43004300u));
        asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(to[j]) : "r"(raised), "r"(0x3e803e80u), "r"(0xc208c208u));                         // x/4 - 34
        asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(to[j + 1]) : "r"(shifted & 0x00f000f0u), "r"(0x7f007f00u), "r"(0xc000c000u));  // x*2^127 - 2
    }
}

// sum += part * scale, all in quarters: two rows' scales in one word, as in a unit.
template <int COUNT> DEVICE void add_scaled(float (&sum)[COUNT], const float (&part)[COUNT], u32 scales) {
    const float scale[2] = {__uint_as_float(scales << 16), __uint_as_float(scales & 0xffff0000u)};
#pragma unroll
    for (int i = 0; i < COUNT; ++i) sum[i] += part[i] * scale[i / 2 % 2];
}

// Makes wholes of quarters, once all is added up.
template <int COUNT> DEVICE void to_wholes(float (&sum)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) sum[i] *= 4.0f;
}

// The sums of eight tokens, the j-th of a strip's.
template <int COUNT> DEVICE float (&eight(float (&sum)[COUNT], int j))[4] { return reinterpret_cast<float(&)[4]>(sum[j * 4]); }

// What a lane reads of a group: addresses in the first stage's shared memory. Kept in registers: else the compiler works them out in the loop.
template <int COUNT> struct GroupPlaces {
    u32 codes, scales;           // of the warp's first strip
    u32 tokens[COUNT / 8][4];    // what it tells ldmatrix: the j-th eight tokens' row of steps 2 * pair and 2 * pair + 1 of 16 along k

    // Tokens are two boxes of `rows` rows of 128 bytes, 64 of k each, in the 128-byte swizzle, which goes by the address.
    MEMBER GroupPlaces(const unsigned char* units, const unsigned char* stage, u32 part, u32 rows, u32 lane)
        : codes(kept(shared_address(units) + lane * 16)), scales(kept(shared_address(units) + UNIT_CODES + lane / 4 * 4)) {
#pragma unroll
        for (int j = 0; j < COUNT / 8; ++j)
#pragma unroll
            for (int pair = 0; pair < 4; ++pair) {
                const u32 row = (part * 2 + pair / 2) * rows + min(j * 8 + lane % 8, rows - 1), chunk = pair % 2 * 4 + lane / 8;
                tokens[j][pair] = kept(shared_address(stage) + row * 128 + (chunk ^ row % 8) * 16);
            }
    }
    static MEMBER u32 kept(u32 value) {
        asm volatile("" : "+r"(value));
        return value;
    }
};

// sum += of MINE strips, whose units lie one after the other, a group of k times COUNT tokens, by a warp: `weights` and `tokens` are how far the
// stage's lie behind the first one's. Calls `have_read` when both have been read.
template <int MINE, int COUNT, typename HaveRead>
DEVICE void multiply_group(float (&sum)[MINE][COUNT / 2], const GroupPlaces<COUNT>& of, u32 weights, u32 tokens, HaveRead&& have_read) {
    constexpr int CHAINS = MINE * COUNT <= 16 ? 2 : 1;  // sums that do not wait for each other
    float of_group[CHAINS][MINE][COUNT / 2] = {};       // without its scales
    u32 scales[MINE];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        u32 codes[MINE][4], columns[2][COUNT / 8][4];
#pragma unroll
        for (int r = 0; r < MINE; ++r) load_shared(of.codes + weights + r * UNIT_BYTES + half * 512, codes[r]);
#pragma unroll
        for (int pair = 0; pair < 2; ++pair)
#pragma unroll
            for (int j = 0; j < COUNT / 8; ++j) load_matrices(of.tokens[j][half * 2 + pair] + tokens, columns[pair][j]);
        if (half == 1) {
#pragma unroll
            for (int r = 0; r < MINE; ++r) scales[r] = load_shared(of.scales + weights + r * UNIT_BYTES);
            have_read();
        }
#pragma unroll
        for (int step = 0; step < 4; ++step)
#pragma unroll
            for (int r = 0; r < MINE; ++r) {
                u32 rows[4];
                dequantise(codes[r][step], rows);
#pragma unroll
                for (int j = 0; j < COUNT / 8; ++j) {
                    const u32(&of_pair)[4] = columns[step / 2][j];
                    mma(eight(of_group[step % CHAINS][r], j), rows, {of_pair[step % 2 * 2], of_pair[step % 2 * 2 + 1]});
                }
            }
    }
#pragma unroll
    for (int r = 0; r < MINE; ++r) {
#pragma unroll
        for (int i = 0; i < COUNT / 2; ++i)
            if (CHAINS == 2) of_group[0][r][i] += of_group[CHAINS - 1][r][i];
        add_scaled(sum[r], of_group[0][r], scales[r]);
    }
}
