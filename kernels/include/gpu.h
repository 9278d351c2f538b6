// Names that every kernel uses, for CUDA, for HIP and for the emulator on the host.
//
// KERNEL          an extern "C" kernel
// GLOBAL(T)       a pointer to global memory
// SHARED(T, name, size)  a static array in shared memory
#pragma once

#if defined(__CUDACC_RTC__) || defined(__CUDACC__)
#define KERNEL extern "C" __global__
#define DEVICE static __device__ __forceinline__
#define MEMBER __device__ __forceinline__
#define GLOBAL(T) T*
#define SHARED(T, name, size) __shared__ T name[size]
#define WARP 32
#elif defined(__HIP__)
// The space after # keeps this line from `Source`: the compiler for AMD pastes the header, and no other text changes with it.
# include "hip.h"
#endif
