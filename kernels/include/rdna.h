// RDNA3's matrix instructions: WMMA on 16x16 tiles by a wave of 32 lanes, by element type.
//
// Operands: lane l gives row l%16 of either one with 16 values of k; lanes 16..31 repeat lanes 0..15, so they read the same LDS words.
// Result: lane l holds D[2*r + l/16][l%16] for r = 0..7, rows from the first operand, columns from the second.
#pragma once
#include "amd_tile.h"
#if !defined(__GFX11__)
#error "these WMMA instructions are RDNA3's: gfx1100"
#endif

typedef float F8 __attribute__((ext_vector_type(8)));
typedef int I8 __attribute__((ext_vector_type(8)));
typedef int I4 __attribute__((ext_vector_type(4)));
typedef short S16 __attribute__((ext_vector_type(16)));

struct Bf16 {
    unsigned short bits;
    typedef F8 Sum;
    typedef __bf16 Out;
    static constexpr int DEPTH = 2;  // chunks of 16 bytes that a lane gives to one instruction
    static __device__ __forceinline__ F8 mma(const Chunk (&a)[2], const Chunk (&b)[2], F8 sum) {
        S16 whole_a, whole_b;
        __builtin_memcpy(&whole_a, a, 32);
        __builtin_memcpy(&whole_b, b, 32);
        return __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(whole_a, whole_b, sum);
    }
};

struct Int8 {
    signed char bits;
    typedef I8 Sum;
    typedef int Out;
    static constexpr int DEPTH = 1;
    static __device__ __forceinline__ I8 mma(const Chunk (&a)[1], const Chunk (&b)[1], I8 sum) {
        return __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32(true, (I4)a[0], true, (I4)b[0], sum, false);
    }
};

// What a lane reads of a wave's T*16 rows in LDS. Rows are interleaved so that D's rows of a lane, over all T tiles, are 8*T
// consecutive ones: tile t's row i lies at i%2*(8*T) + 8*t + i/2.
template <int T> struct Fragment {
    static constexpr int SPAN = 8 * T;
    static constexpr __device__ int row_of(int i) { return i % 2 * SPAN + i / 2; }
    int row;
    __device__ __forceinline__ explicit Fragment(int wave) {
        static_assert(conflict_free<Fragment>(), "lanes that LDS serves together meet in its banks");
        row = wave * T * 16 + row_of(threadIdx.x % 16);
    }
    // Chunks DEPTH*step .. of the row, for one instruction.
    template <int DEPTH> __device__ __forceinline__ void read(const Chunk* tile, int step, Chunk (&to)[T][DEPTH]) const {
        for (int part = 0; part < DEPTH; ++part) {
            const Chunk* from = tile + place<SPAN>(row, step * DEPTH + part);
            for (int t = 0; t < T; ++t) to[t][part] = from[t * 8 * CHUNKS];
        }
    }
};
