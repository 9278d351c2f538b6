// Weights in 4 bits with a scale for each row and group of 128 along k: where they lie, and how they become operands.
//
// A unit is 64 rows x 128 k: 4096 bytes of codes and 128 of scales, 33/8 bits a weight, in one piece. Units lie in the order
// [256 rows][group of k][64 rows of those 256], so a tile of up to 256 rows finds a group of k in one piece too; the last 256 rows may be
// fewer. Within a unit:
//   codes   [half of k][thread of the warpgroup][16 bytes], so that a warp's 16-byte loads run through all banks in order; a thread's four
//           words are its register operands of four wgmmas, one after the other along k.
//   word    bits 4*j .. 4*j+3 are the lower and bits 16+4*j .. the upper element of operand register j. As wgmma has it, register j
//           of lane l of warp w holds row 16*w + l/4 + 8*(j%2), columns 8*(j/2) + 2*(l%4) and the next.
//   scales  bf16, [warp][lane/4][two rows, 8 apart]: a thread's two in one word.
// A code is the weight in units of its scale, plus 8: 0..15 stand for -8..7.
#pragma once
#include "wgmma.h"

#define UNIT_CODES 4096
#define UNIT_BYTES (UNIT_CODES + 128)

// Where group `group` of the 64 rows from 64*`block` on lies; `blocks` and `groups` are those of the whole matrix.
DEVICE const unsigned char* unit_place(const unsigned char* weights, int block, int group, int blocks, int groups) {
    const int first = block / 4 * 4, beside = min(4, blocks - first);
    return weights + ((long long)first * groups + group * beside + block - first) * UNIT_BYTES;
}

// Eight weights. A code in the low mantissa bits of 128.0, 0x4300 in bf16, whose unit is 1, makes 128 + code: less 136 it is the exact
// integer. For 8 weights 3 shifts and 4 LOP3, (word & mask) | magic, on the integer pipe, and 4 packed additions.
DEVICE void dequantise(u32 word, u32 (&to)[4]) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        u32 raised;  // (word >> 4j & mask) | magic, by LOP3's table for (a & b) | c
        asm("lop3.b32 %0, %1, 0x000f000f, %2, 0xea;" : "=r"(raised) : "r"(word >> 4 * j), "r"(0x43004300u));
        asm("sub.rn.bf16x2 %0, %1, %2;" : "=r"(to[j]) : "r"(raised), "r"(0x43084308u));
    }
}

// sum += part * scale: two rows' scales in one word, as in a unit.
template <int COUNT> DEVICE void add_scaled(float* sum, const float (&part)[COUNT], u32 scales) {
    const float scale[2] = {__uint_as_float(scales << 16), __uint_as_float(scales & 0xffff0000u)};
#pragma unroll
    for (int i = 0; i < COUNT; ++i) sum[i] += part[i] * scale[i / 2 % 2];
}

// After a wait for wgmmas: what they wrote is not read before this point.
template <int COUNT> DEVICE void written(float (&part)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) asm volatile("" : "+f"(part[i])::"memory");
}

// The descriptor of an operand, the same in all lanes, said so that the compiler keeps it in uniform registers.
DEVICE u64 uniform(u64 descriptor) { return descriptor & ~0xffffffffull | __shfl_sync(0xffffffffu, (u32)descriptor, 0); }
