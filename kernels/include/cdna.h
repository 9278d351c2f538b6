// CDNA's matrix cores: MFMA on 16x16 tiles, by element type.
//
// Operands: lane l gives row l%16 of either one, and of k what follows from its group l/16. Which k a group holds is not fixed as long as
// both operands agree, so a lane's 16-byte chunk of LDS is split into the 8 (or 4) bytes that one instruction takes.
// Result: lane l holds D[4*(l/16) + r][l%16] for r = 0..3, rows from the first operand, columns from the second.
#pragma once
#include "amd_tile.h"
#if !defined(__gfx90a__) && !defined(__gfx942__)
#error "MFMA is CDNA's: gfx90a or gfx942"
#endif

typedef float F4 __attribute__((ext_vector_type(4)));
typedef int I4 __attribute__((ext_vector_type(4)));
typedef short S4 __attribute__((ext_vector_type(4)));

#if defined(__gfx942__)
constexpr int XCDS = 8;
#else
constexpr int XCDS = 1;
#endif

// The half of a chunk as the type that the instruction names.
template <class Half> DEVICE Half half_of(Chunk chunk, int half) {
    Half halves[2];
    __builtin_memcpy(halves, &chunk, 16);
    return halves[half];
}

struct Bf16 {
    unsigned short bits;
    typedef F4 Sum;
    typedef __bf16 Out;
    static __device__ __forceinline__ F4 mma(Chunk a, Chunk b, F4 sum) {
        for (int half = 0; half < 2; ++half)
            sum = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(half_of<S4>(a, half), half_of<S4>(b, half), sum, 0, 0, 0);
        return sum;
    }
};

struct Int8 {
    signed char bits;
    typedef I4 Sum;
    typedef int Out;
    static __device__ __forceinline__ I4 mma(Chunk a, Chunk b, I4 sum) {
#if defined(__gfx942__)
        for (int half = 0; half < 2; ++half)
            sum = __builtin_amdgcn_mfma_i32_16x16x32_i8(half_of<long>(a, half), half_of<long>(b, half), sum, 0, 0, 0);
#else
        for (int word = 0; word < 4; ++word) sum = __builtin_amdgcn_mfma_i32_16x16x16i8(a[word], b[word], sum, 0, 0, 0);
#endif
        return sum;
    }
};

#if defined(__gfx942__)
// e4m3 in AMD's own form (FNUZ): exponent bias 8 instead of OCP's 7, so the same bits mean half as much; 0x80 is the only NaN, where
// OCP has minus zero, and OCP's two NaNs are numbers.
struct Fp8 {
    unsigned char bits;
    typedef F4 Sum;
    typedef __bf16 Out;
    static __device__ __forceinline__ F4 mma(Chunk a, Chunk b, F4 sum) {
        for (int half = 0; half < 2; ++half)
            sum = __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(half_of<long>(a, half), half_of<long>(b, half), sum, 0, 0, 0);
        return sum;
    }
};
#endif

// What a lane reads of a wave's T*16 rows in LDS. Rows are interleaved so that D's rows of a lane, over all T tiles, are 4*T
// consecutive ones: tile t's row i lies at i/4*(4*T) + 4*t + i%4.
template <int T> struct Fragment {
    static constexpr int SPAN = 4 * T;
    static constexpr __device__ int row_of(int i) { return i / 4 * SPAN + i % 4; }
    int row;
    __device__ __forceinline__ explicit Fragment(int wave) {
        static_assert(conflict_free<Fragment>(), "lanes that LDS serves together meet in its banks");
        row = wave * T * 16 + row_of(threadIdx.x % 16);
    }
    // Chunks 4*step .. 4*step+3 of the row, one a group of 16 lanes.
    __device__ __forceinline__ void read(const Chunk* tile, int step, Chunk (&to)[T]) const {
        const Chunk* from = tile + place<SPAN>(row, step * 4 + threadIdx.x % WARP / 16);
        for (int t = 0; t < T; ++t) to[t] = from[t * 4 * CHUNKS];
    }
};
