// What it costs when the lanes of a warp go separate ways.
//
// Lane l takes path l % PATHS; a path is a chain of 16 FMAs a round that differs from the others in one constant, so that no
// compiler can make two of them one. Hypothesis: a warp walks its paths one after another, each at full length, and the threads'
// own program counters change nothing about it. Prediction: PATHS * 64 cycles a round (16 FMAs of 4 cycles), and about 4 for the
// loop: 68 for one path, 2176 for 32.
//@ entry: divergence
//@ arch: sm_80 sm_90a sm_100a
//@ threads: 32
//@ grid: SMS
//@ args: cycles out a PATHS ROUNDS
//@ expect: sm_90a FFMA>=512

#include "micro.h"

// x -> a*x + (1 + P * 2^-23): 0f3F8000PP is that constant's bit pattern, P in two hexadecimal digits.
#define FMA(P) "fma.rn.f32 %0, %0, %1, 0f3F8000" P ";\n"
#define FOUR(P) FMA(P) FMA(P) FMA(P) FMA(P)
#define PATH(P)                                                                              \
    case 0x##P:                                                                              \
        _Pragma("unroll 1") for (int round = 0; round < ROUNDS; ++round)                     \
            asm volatile(FOUR(#P) FOUR(#P) FOUR(#P) FOUR(#P) : "+f"(x) : "f"(a));            \
        break;

KERNEL void divergence(GLOBAL(u64) cycles, GLOBAL(float) out, float a, int PATHS, int ROUNDS) {
    float x = (float)threadIdx.x;
    int path = threadIdx.x % PATHS;
    u64 begin = now();
    switch (path) {
        PATH(00) PATH(01) PATH(02) PATH(03) PATH(04) PATH(05) PATH(06) PATH(07)
        PATH(08) PATH(09) PATH(0a) PATH(0b) PATH(0c) PATH(0d) PATH(0e) PATH(0f)
        PATH(10) PATH(11) PATH(12) PATH(13) PATH(14) PATH(15) PATH(16) PATH(17)
        PATH(18) PATH(19) PATH(1a) PATH(1b) PATH(1c) PATH(1d) PATH(1e) PATH(1f)
    }
    __syncwarp();
    if (threadIdx.x == 0) cycles[blockIdx.x] = now() - begin;
    out[blockIdx.x * WARP + threadIdx.x] = x;
}
