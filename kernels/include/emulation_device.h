// CUDA's own functions and vector types as far as the kernels use them, on the emulator.
#pragma once

#define EMULATION_HERE emulation::Place place = {__builtin_FILE(), __builtin_LINE()}

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) int4 { int x, y, z, w; };

DEVICE float2 make_float2(float x, float y) { return {x, y}; }
DEVICE float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
DEVICE uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

template <class V, class T> DEVICE V vector_load(emulation::Pointer<T> from, EMULATION_HERE) {
    return emulation::load<V>(*from.array, from.offset, place);
}
template <class V, class T> DEVICE void vector_store(emulation::Pointer<T> to, V value, EMULATION_HERE) {
    static_assert(!std::is_const<T>::value, "the array is const");
    emulation::store(*to.array, to.offset, value, place);
}

static inline void unsolved(const char* message, EMULATION_HERE) {
    emulation::describe(emulation::UNSOLVED, nullptr, 0, place, message);
    emulation::stop();
}
#define TODO(message) unsolved(message)

DEVICE void __syncthreads(EMULATION_HERE) { emulation::wait(emulation::AT_BLOCK_BARRIER, 0, place); }
DEVICE void __syncwarp(unsigned mask = ~0u, EMULATION_HERE) { emulation::wait(emulation::AT_WARP_BARRIER, mask, place); }

template <class T> DEVICE T __shfl_sync(unsigned mask, T value, int source, EMULATION_HERE) {
    return emulation::exchange(mask, value, static_cast<unsigned>(source) % 32, place);
}
template <class T> DEVICE T __shfl_xor_sync(unsigned mask, T value, int lanes, EMULATION_HERE) {
    return emulation::exchange(mask, value, (emulation::running.lane ^ static_cast<unsigned>(lanes)) % 32, place);
}
template <class T> DEVICE T __shfl_down_sync(unsigned mask, T value, unsigned by, EMULATION_HERE) {
    unsigned lane = emulation::running.lane;
    return emulation::exchange(mask, value, lane + by < 32 ? lane + by : lane, place);
}
template <class T> DEVICE T __shfl_up_sync(unsigned mask, T value, unsigned by, EMULATION_HERE) {
    unsigned lane = emulation::running.lane;
    return emulation::exchange(mask, value, lane >= by ? lane - by : lane, place);
}
DEVICE float shuffle_xor(float value, int lanes, EMULATION_HERE) { return __shfl_xor_sync(~0u, value, lanes, place); }

DEVICE float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
DEVICE unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
DEVICE float float_of_bf16(unsigned bits) { return __uint_as_float(bits << 16); }

template <class T> DEVICE T min(T a, T b) { return b < a ? b : a; }
template <class T> DEVICE T max(T a, T b) { return a < b ? b : a; }
DEVICE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
DEVICE float __fdividef(float a, float b) { return a / b; }
// Macros, since the host's <math.h> declares functions of these names for itself.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
