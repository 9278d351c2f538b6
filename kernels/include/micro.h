// What the kernels that measure the machine share: the multiprocessor's clock, and a checksum that keeps their loads alive.
//
// A compiler removes what nobody uses, so every kernel under micro/ adds what it read to a sum that the host checks.
#pragma once
#include "gpu.h"

typedef unsigned long long u64;

// Cycles of this multiprocessor. Volatile, and a fence for the compiler: what is measured cannot move across it in the source order.
DEVICE u64 now() {
    u64 cycles;
    asm volatile("mov.u64 %0, %%clock64;" : "=l"(cycles) : : "memory");
    return cycles;
}

// Adds `value` of all threads to `*sum`, modulo 2^32, so that the order does not matter: one atomic a warp.
DEVICE void add_to(GLOBAL(unsigned) sum, unsigned value) {
    value = __reduce_add_sync(0xffffffffu, value);
    if (threadIdx.x % WARP == 0) atomicAdd(sum, value);
}

// Where a pointer into shared memory lies in the shared window, for instructions that address it so.
DEVICE unsigned shared_address(const void* pointer) {
    return (unsigned)__cvta_generic_to_shared(pointer);
}
