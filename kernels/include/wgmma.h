// wgmma: D[64, N] += A[64, k] * B[N, k]^T by a warpgroup, operands from shared memory (SS) or A from registers (RS).
//
// One function for each N. A kernel has one element type, its parameter TYPE:
//   0 (or none) f32 += bf16 * bf16, k = 16      1 f32 += f16 * f16, k = 16
//   2 f32 += e4m3 * e4m3, k = 32                3 s32 += s8 * s8, k = 32
// A thread of the warpgroup holds N/2 accumulators: d[4*i + 2*h + j] is row 16*warp + lane/4 + 8*h, column 8*i + 2*(lane%4) + j.
#pragma once
#include "sm90.h"

#if TYPE == 3
typedef int Accumulator;
#define WGMMA_REGISTER(v) "+r"(v)
#define WGMMA_SHAPE "k32.s32.s8.s8"
#define WGMMA_TAIL_SS ""
#define WGMMA_TAIL_RS ""
#else
typedef float Accumulator;
#define WGMMA_REGISTER(v) "+f"(v)
#if TYPE == 2
#define WGMMA_SHAPE "k32.f32.e4m3.e4m3"
#define WGMMA_TAIL_SS ", 1, 1"
#define WGMMA_TAIL_RS ", 1, 1"
#else
#if TYPE == 1
#define WGMMA_SHAPE "k16.f32.f16.f16"
#else
#define WGMMA_SHAPE "k16.f32.bf16.bf16"
#endif
#define WGMMA_TAIL_SS ", 1, 1, 0, 0"
#define WGMMA_TAIL_RS ", 1, 1, 0"
#endif
#endif

// Operand lists: a string of register names and the registers themselves, in steps of 4 and 8.
#define WGMMA_D "%0,%1,%2,%3"
#define WGMMA_D0 "%0,%1,%2,%3,%4,%5,%6,%7"
#define WGMMA_D1 "%8,%9,%10,%11,%12,%13,%14,%15"
#define WGMMA_D2 "%16,%17,%18,%19,%20,%21,%22,%23"
#define WGMMA_D3 "%24,%25,%26,%27,%28,%29,%30,%31"
#define WGMMA_D4 "%32,%33,%34,%35,%36,%37,%38,%39"
#define WGMMA_D5 "%40,%41,%42,%43,%44,%45,%46,%47"
#define WGMMA_D6 "%48,%49,%50,%51,%52,%53,%54,%55"
#define WGMMA_D7 "%56,%57,%58,%59,%60,%61,%62,%63"
#define WGMMA_D8 "%64,%65,%66,%67,%68,%69,%70,%71"
#define WGMMA_D9 "%72,%73,%74,%75,%76,%77,%78,%79"
#define WGMMA_D10 "%80,%81,%82,%83,%84,%85,%86,%87"
#define WGMMA_D11 "%88,%89,%90,%91,%92,%93,%94,%95"
#define WGMMA_D12 "%96,%97,%98,%99,%100,%101,%102,%103"
#define WGMMA_D13 "%104,%105,%106,%107,%108,%109,%110,%111"
#define WGMMA_D14 "%112,%113,%114,%115,%116,%117,%118,%119"
#define WGMMA_D15 "%120,%121,%122,%123,%124,%125,%126,%127"
#define L4 WGMMA_D
#define L8 WGMMA_D0
#define L12 L8 ",%8,%9,%10,%11"
#define L16 L8 "," WGMMA_D1
#define L24 L16 "," WGMMA_D2
#define L32 L24 "," WGMMA_D3
#define L40 L32 "," WGMMA_D4
#define L48 L32 "," WGMMA_D4 "," WGMMA_D5
#define L56 L48 "," WGMMA_D6
#define L64 L48 "," WGMMA_D6 "," WGMMA_D7
#define L80 L64 "," WGMMA_D8 "," WGMMA_D9
#define L96 L80 "," WGMMA_D10 "," WGMMA_D11
#define L112 L96 "," WGMMA_D12 "," WGMMA_D13
#define L128 L112 "," WGMMA_D14 "," WGMMA_D15
#define EXPAND(...) __VA_ARGS__
#define C4(i) WGMMA_REGISTER(d[i]), WGMMA_REGISTER(d[i + 1]), WGMMA_REGISTER(d[i + 2]), WGMMA_REGISTER(d[i + 3])
#define C8(i) C4(i), C4(i + 4)
#define C16(i) C8(i), C8(i + 8)
#define C32(i) C16(i), C16(i + 16)
#define C64(i) C32(i), C32(i + 32)

template <int N> DEVICE void wgmma(Accumulator (&d)[N / 2], u64 a, u64 b, int accumulate);
template <int N> DEVICE void wgmma_rs(Accumulator (&d)[N / 2], const u32 (&a)[4], u64 b, int accumulate);

// A, B, P: the numbers of the operands that follow the accumulators; without `accumulate`, D is overwritten.
#define WGMMA(N, LIST, REGISTERS, A, B, P)                                                                        \
    template <> MEMBER void wgmma<N>(Accumulator (&d)[N / 2], u64 a, u64 b, int accumulate) {                     \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P ", 0;\n"                                            \
                     "wgmma.mma_async.sync.aligned.m64n" #N WGMMA_SHAPE " {" LIST "}, " A ", " B ", p" WGMMA_TAIL_SS ";\n}" \
                     : EXPAND REGISTERS : "l"(a), "l"(b), "r"(accumulate));                                              \
    }
#define WGMMA_RS(N, LIST, REGISTERS, A, B, P)                                                                     \
    template <> MEMBER void wgmma_rs<N>(Accumulator (&d)[N / 2], const u32 (&a)[4], u64 b, int accumulate) {      \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P ", 0;\n"                                            \
                     "wgmma.mma_async.sync.aligned.m64n" #N WGMMA_SHAPE " {" LIST "}, {" A "}, " B ", p" WGMMA_TAIL_RS ";\n}" \
                     : EXPAND REGISTERS : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));          \
    }
WGMMA(8, L4, (C4(0)), "%4", "%5", "%6")
WGMMA(16, L8, (C8(0)), "%8", "%9", "%10")
WGMMA(24, L12, (C8(0), C4(8)), "%12", "%13", "%14")
WGMMA(32, L16, (C16(0)), "%16", "%17", "%18")
WGMMA(48, L24, (C16(0), C8(16)), "%24", "%25", "%26")
WGMMA(64, L32, (C32(0)), "%32", "%33", "%34")
WGMMA(80, L40, (C32(0), C8(32)), "%40", "%41", "%42")
WGMMA(96, L48, (C32(0), C16(32)), "%48", "%49", "%50")
WGMMA(112, L56, (C32(0), C16(32), C8(48)), "%56", "%57", "%58")
WGMMA(128, L64, (C64(0)), "%64", "%65", "%66")
WGMMA(160, L80, (C64(0), C16(64)), "%80", "%81", "%82")
WGMMA(192, L96, (C64(0), C32(64)), "%96", "%97", "%98")
WGMMA(224, L112, (C64(0), C32(64), C16(96)), "%112", "%113", "%114")
WGMMA(256, L128, (C64(0), C64(64)), "%128", "%129", "%130")
WGMMA_RS(8, L4, (C4(0)), "%4,%5,%6,%7", "%8", "%9")
WGMMA_RS(16, L8, (C8(0)), "%8,%9,%10,%11", "%12", "%13")
WGMMA_RS(24, L12, (C8(0), C4(8)), "%12,%13,%14,%15", "%16", "%17")
WGMMA_RS(32, L16, (C16(0)), "%16,%17,%18,%19", "%20", "%21")
WGMMA_RS(48, L24, (C16(0), C8(16)), "%24,%25,%26,%27", "%28", "%29")
WGMMA_RS(64, L32, (C32(0)), "%32,%33,%34,%35", "%36", "%37")
WGMMA_RS(96, L48, (C32(0), C16(32)), "%48,%49,%50,%51", "%52", "%53")
WGMMA_RS(128, L64, (C64(0)), "%64,%65,%66,%67", "%68", "%69")

// N columns, in two instructions where one has not so many. Operands by their low words (`uniform_operand`), rows of B 128 bytes.
template <int N> DEVICE void wgmma_wide(Accumulator (&d)[N / 2], u32 a, u32 b, int accumulate) {
    constexpr int WIDE = N > 256 ? N / 2 : N;
#pragma unroll
    for (int column = 0; column < N; column += WIDE)
        wgmma<WIDE>(reinterpret_cast<Accumulator(&)[WIDE / 2]>(d[column / 2]), stepped(a, 0), stepped(b, column * 8), accumulate);
}

// After the wait: the compiler, which sees no tie between a wait and the accumulators, moves no use of them before it.
template <int N> DEVICE void wgmma_done(Accumulator (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) asm volatile("" : WGMMA_REGISTER(d[i])::"memory");
}
