// CUDA's SIMT names for AMD GPUs, by clang's own builtins: no ROCm header and no device library is needed to compile a kernel.
//
// A wave has 64 lanes on CDNA and 32 on RDNA: code that is right on both counts by WARP. Lane masks of the _sync functions are taken and
// ignored, since the lanes of a wave run in lock-step; only whole-wave masks are meant.
#pragma once

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __forceinline__ inline __attribute__((always_inline))
// clang's launch_bounds attribute leaves AMD's limit at 1024 threads, which halves the registers of a small block.
#define __launch_bounds__(threads, ...) __attribute__((amdgpu_flat_work_group_size(1, threads)))

#define KERNEL extern "C" __global__
#define DEVICE static __device__ __forceinline__
#define GLOBAL(T) T*
#define SHARED(T, name, size) __shared__ alignas(16) T name[size]
#define TODO(message) __builtin_trap()
#if defined(__GFX9__)
#define WARP 64
#else
#define WARP 32
#endif

struct HipIndex { unsigned x, y, z; };
// Sizes of the launch, which the loader writes behind the kernel's arguments: blocks as three u32, then threads as three u16.
template <class T> DEVICE HipIndex hip_sizes(int at) {
    typedef const __attribute__((address_space(4))) T* Sizes;  // constant memory: read once, by scalar loads
    auto sizes = Sizes(__builtin_amdgcn_implicitarg_ptr()) + at / sizeof(T);
    return {sizes[0], sizes[1], sizes[2]};
}
#define threadIdx \
    (HipIndex{__builtin_amdgcn_workitem_id_x(), __builtin_amdgcn_workitem_id_y(), __builtin_amdgcn_workitem_id_z()})
#define blockIdx \
    (HipIndex{__builtin_amdgcn_workgroup_id_x(), __builtin_amdgcn_workgroup_id_y(), __builtin_amdgcn_workgroup_id_z()})
#define blockDim hip_sizes<unsigned short>(12)
#define gridDim hip_sizes<unsigned>(0)

// The barrier itself orders no memory: what the block wrote before it is released, what it reads after it is acquired.
DEVICE void __syncthreads() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
DEVICE void __syncwarp(unsigned long long = ~0ull) {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
    __builtin_amdgcn_wave_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}
DEVICE void __threadfence() { __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent"); }

DEVICE int hip_lane() { return __builtin_amdgcn_mbcnt_hi(~0u, __builtin_amdgcn_mbcnt_lo(~0u, 0)) & (WARP - 1); }
// ds_bpermute moves 32 bits from the lane whose number times four is given; wider values go in parts.
template <class T> DEVICE T hip_from_lane(T value, int lane) {
    static_assert(sizeof(T) % 4 == 0, "shuffles move whole words");
    int words[sizeof(T) / 4];
    __builtin_memcpy(words, &value, sizeof(T));
    for (unsigned i = 0; i < sizeof(T) / 4; ++i) words[i] = __builtin_amdgcn_ds_bpermute(lane << 2, words[i]);
    __builtin_memcpy(&value, words, sizeof(T));
    return value;
}
// A source beyond the lane's own group of `width` gives back the lane's own value, as CUDA's do.
template <class T> DEVICE T __shfl_sync(unsigned long long, T value, int lane, int width = WARP) {
    return hip_from_lane(value, (hip_lane() & -width) | (lane & (width - 1)));
}
template <class T> DEVICE T __shfl_xor_sync(unsigned long long, T value, int mask, int width = WARP) {
    int from = hip_lane() ^ mask;
    return hip_from_lane(value, (from & -width) > (hip_lane() & -width) ? hip_lane() : from);
}
template <class T> DEVICE T __shfl_down_sync(unsigned long long, T value, int delta, int width = WARP) {
    int own = hip_lane();
    return hip_from_lane(value, (own & (width - 1)) + delta < width ? own + delta : own);
}
template <class T> DEVICE T __shfl_up_sync(unsigned long long, T value, int delta, int width = WARP) {
    int own = hip_lane();
    return hip_from_lane(value, (own & (width - 1)) >= delta ? own - delta : own);
}
DEVICE float shuffle_xor(float value, int lanes) { return __shfl_xor_sync(~0ull, value, lanes); }
#if WARP == 64
DEVICE unsigned long long __ballot_sync(unsigned long long, bool set) { return __builtin_amdgcn_ballot_w64(set); }
#else
DEVICE unsigned long long __ballot_sync(unsigned long long, bool set) { return __builtin_amdgcn_ballot_w32(set); }
#endif

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
DEVICE float2 make_float2(float x, float y) { return {x, y}; }
DEVICE float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
template <class V, class T> DEVICE V vector_load(const T* from) { return *reinterpret_cast<const V*>(from); }
template <class V, class T> DEVICE void vector_store(T* to, V value) { *reinterpret_cast<V*>(to) = value; }

template <class T> DEVICE T min(T a, T b) { return b < a ? b : a; }
template <class T> DEVICE T max(T a, T b) { return a < b ? b : a; }
DEVICE float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }
DEVICE unsigned __float_as_uint(float value) { return __builtin_bit_cast(unsigned, value); }
DEVICE float float_of_bf16(unsigned bits) { return __uint_as_float(bits << 16); }
DEVICE float fminf(float a, float b) { return __builtin_fminf(a, b); }
DEVICE float fmaxf(float a, float b) { return __builtin_fmaxf(a, b); }
DEVICE float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DEVICE float fabsf(float a) { return __builtin_fabsf(a); }
DEVICE float sqrtf(float a) { return __builtin_sqrtf(a); }
DEVICE float rsqrtf(float a) { return __builtin_amdgcn_rsqf(a); }
DEVICE float expf(float a) { return __builtin_expf(a); }
DEVICE float exp2f(float a) { return __builtin_exp2f(a); }
DEVICE float logf(float a) { return __builtin_logf(a); }
#define __expf expf

template <class T> DEVICE T atomicAdd(T* at, T value) {
    return __hip_atomic_fetch_add(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
}
template <class T> DEVICE T atomicMax(T* at, T value) {
    return __hip_atomic_fetch_max(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
}
