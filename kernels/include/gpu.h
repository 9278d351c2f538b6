// Names that every kernel uses, for CUDA, for HIP and for the emulator on the host.
//
// KERNEL                    a kernel; DEVICE: a function that kernels call
// GLOBAL(T)                 a pointer to global memory, T* on a GPU; on the host it checks and counts every access
// SHARED(T, name, size)     a static array in shared memory, aligned for 16-byte accesses
// WARP                      lanes of a warp
// vector_load<float4>(p)    one access of 8 or 16 bytes, p aligned to as much; vector_store(p, v) likewise
// shuffle_xor(v, lanes)     the value v of the lane whose number differs in these bits; all lanes of the warp take part
// float_of_bf16(bits)       a bf16 in the low half of a word; the upper half is ignored
// TODO("message")           what a learner has yet to write: the emulator stops with the message, a GPU with a trap
//
// On the host a[i] is no lvalue but stands for the access: write `float v = a[i]`, not `auto`, and p[0], not *p.
#pragma once

#if defined(__CUDACC_RTC__) || defined(__CUDACC__)

#define KERNEL extern "C" __global__
#define DEVICE static __device__ __forceinline__
#define MEMBER __device__ __forceinline__
#define GLOBAL(T) T*
#define SHARED(T, name, size) __shared__ __align__(16) T name[size]
#define WARP 32
#define TODO(message) asm volatile("trap;")

template <class V, class T> DEVICE V vector_load(const T* from) { return *reinterpret_cast<const V*>(from); }
template <class V, class T> DEVICE void vector_store(T* to, V value) { *reinterpret_cast<V*>(to) = value; }
DEVICE float shuffle_xor(float value, int lanes) { return __shfl_xor_sync(0xffffffffu, value, lanes); }
DEVICE float float_of_bf16(unsigned bits) { return __uint_as_float(bits << 16); }

#elif defined(__HIP__)

// The space after # keeps this line from `Source`, as below: the compiler for AMD pastes the header.
# include "hip.h"

#else

// The space after # keeps this line from `Source`, which would paste the emulator into the text that a GPU's compiler reads: then
// an edit of the emulator would change the digest of every kernel.
# include "emulation.h"

#endif
