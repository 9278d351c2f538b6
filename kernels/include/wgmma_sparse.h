// Sparse wgmma: D[64, N] += A[64, 32] * B[N, 32]^T in bf16, A with two of every four along k kept (2:4), both from shared memory.
//
// Of A's row the 16 kept values lie one after the other: an operand as of a dense instruction with k = 16, 32 bytes a row. Where each stood
// is in the metadata, 2 bits a value, a 32-bit register of half of the threads. The selector says whose (PTX ISA, "Matrix fragments for
// sparse wgmma.mma_async.m64nNk32", the figure of the metadata for .f16 and .bf16): with 0, of every four lanes the lanes 0 and 1, with 1
// the lanes 2 and 3. The first of such a pair describes k 0 to 15 and the second k 16 to 31, of the rows 16*warp + lane/4 (bits 0 to 15)
// and 8 further (bits 16 to 31). Of a row's 16 bits, each four k have four: the position of their first kept value, then of their second;
// positions rise. So a word that every thread loads holds two instructions: the first is issued with selector 0, the second with 1.
//
// An instruction reads 64 * N bytes of B and 2 KB of A, and would take as long as a dense one of half its k, N/2 cycles. But shared memory gives
// 128 bytes a cycle: what is read takes N/2 + 16, 9/8 of that at N = 256, 5/4 at N = 128.
#pragma once
#include "wgmma.h"

// The descriptor of kept values, `step` further along, in rows of WIDTH bytes, 128 or 64, swizzled over as many: 32 bytes are 2 steps.
// `operand` is what uniform_operand gives.
template <int WIDTH> DEVICE u64 kept(u32 operand, int step) {
    return (u64)((WIDTH == 128 ? 1u : 2u) << 30 | 8 * WIDTH >> 4) << 32 | (operand + step);
}

// The metadata's register is free once the instruction is issued: of registers the ISA names only D and A as read and written late, and ptxas
// loads the next stage's word into it while the instruction is under way.
template <int N, int SELECTOR> DEVICE void wgmma_sparse(float (&d)[N / 2], u64 a, u64 b, u32 metadata, int accumulate);

// A, B, E, P: the numbers of the operands that follow the accumulators; without `accumulate`, D is overwritten.
#define WGMMA_SPARSE_BY(N, SELECTOR, LIST, REGISTERS, A, B, E, P)                                                                     \
    template <> MEMBER void wgmma_sparse<N, SELECTOR>(float (&d)[N / 2], u64 a, u64 b, u32 metadata, int accumulate) {                 \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P ", 0;\n"                                                                   \
                     "wgmma.mma_async.sp.sync.aligned.m64n" #N "k32.f32.bf16.bf16 {" LIST "}, " A ", " B ", " E ", " #SELECTOR          \
                     ", p, 1, 1, 0, 0;\n}" : EXPAND REGISTERS : "l"(a), "l"(b), "r"(metadata), "r"(accumulate));                       \
    }
#define WGMMA_SPARSE(N, LIST, REGISTERS, A, B, E, P)               \
    WGMMA_SPARSE_BY(N, 0, LIST, REGISTERS, A, B, E, P)             \
    WGMMA_SPARSE_BY(N, 1, LIST, REGISTERS, A, B, E, P)
WGMMA_SPARSE(8, L4, (C4(0)), "%4", "%5", "%6", "%7")
WGMMA_SPARSE(16, L8, (C8(0)), "%8", "%9", "%10", "%11")
WGMMA_SPARSE(32, L16, (C16(0)), "%16", "%17", "%18", "%19")
WGMMA_SPARSE(64, L32, (C32(0)), "%32", "%33", "%34", "%35")
WGMMA_SPARSE(128, L64, (C64(0)), "%64", "%65", "%66", "%67")
WGMMA_SPARSE(192, L96, (C64(0), C32(64)), "%96", "%97", "%98", "%99")
WGMMA_SPARSE(256, L128, (C64(0), C64(64)), "%128", "%129", "%130", "%131")
