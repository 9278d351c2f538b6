// The emulator's side of gpu.h: what kernels call, for a CPU. Nothing here says how fast a GPU would be; it says whether a kernel is
// right, and what it asks of memory.
//
// emulation_fiber.h    threads as fibers
// emulation_memory.h   arrays: bounds, races, warp instructions, transactions
// emulation_block.h    the scheduler: barriers, shuffles, deadlocks
// emulation_report.h   what goes to Rust and back
#pragma once

#include "emulation_block.h"

#include <cmath>
#include <type_traits>

#define KERNEL static
#define DEVICE static inline
#define GLOBAL(T) emulation::Pointer<T>
#define SHARED(T, name, size) emulation::Pointer<T> name = emulation::shared<T>(#name, size, __LINE__)
#define WARP 32
#define __launch_bounds__(...)
#define threadIdx emulation::launch.thread_index
#define blockIdx emulation::launch.block_index
#define blockDim emulation::launch.block_size
#define gridDim emulation::launch.grid_size

namespace emulation {

// An index that knows where it was written: the default arguments are those of the place that makes it out of a number.
struct Index {
    int64_t value;
    Place place;
    template <class I, class = std::enable_if_t<std::is_integral<I>::value>>
    Index(I i, const char* file = __builtin_FILE(), int line = __builtin_LINE()) : value(static_cast<int64_t>(i)), place{file, line} {}
};

template <class V> static inline V load(Array& array, int64_t index, Place place) {
    V value;
    memcpy(&value, access(array, false, index, sizeof(V), place), sizeof value);
    return value;
}

template <class V> static inline void store(Array& array, int64_t index, V value, Place place) {
    memcpy(access(array, true, index, sizeof(V), place), &value, sizeof value);
}

// What a[i] is on the left of an assignment or where a value is wanted. It cannot be kept: `auto x = a[i]; use(x)` does not compile.
template <class T> struct Reference {
    Array& array;
    int64_t index;
    Place place;

    operator T() const&& { return load<T>(array, index, place); }
    T operator=(T value) && { return store(array, index, value, place), value; }
    T operator=(Reference&& from) && { return std::move(*this) = static_cast<T>(std::move(from)); }
    T operator+=(T by) && { return change([=](T now) { return static_cast<T>(now + by); }); }
    T operator-=(T by) && { return change([=](T now) { return static_cast<T>(now - by); }); }
    T operator*=(T by) && { return change([=](T now) { return static_cast<T>(now * by); }); }

  private:
    template <class F> T change(F to) {
        T value = to(load<T>(array, index, place));
        store(array, index, value, place);
        return value;
    }
};

// T* of a GPU: an array and a place in it.
template <class T> struct Pointer {
    Array* array = nullptr;
    int64_t offset = 0;

    operator Pointer<const T>() const { return {array, offset}; }
    auto operator[](Index index) const {
        if constexpr (std::is_const<T>::value) {
            return load<std::remove_const_t<T>>(*array, offset + index.value, index.place);
        } else {
            return Reference<T>{*array, offset + index.value, index.place};
        }
    }
    template <class I> Pointer operator+(I by) const { return {array, offset + static_cast<int64_t>(by)}; }
    template <class I> Pointer operator-(I by) const { return {array, offset - static_cast<int64_t>(by)}; }
    template <class I> Pointer& operator+=(I by) { return offset += static_cast<int64_t>(by), *this; }
    Pointer& operator++() { return ++offset, *this; }
};

// The shared array of this declaration in this block. CUDA gives a block 48 KiB without asking.
template <class T> static inline Pointer<T> shared(const char* name, size_t count, int line) {
    for (Array& array : launch.arrays)
        if (array.shared && array.line == line && array.name == name) return {&array, 0};
    launch.shared_bytes += (count * sizeof(T) + 15) / 16 * 16;
    if (launch.shared_bytes > 48 * 1024) {
        std::string detail = std::to_string(launch.shared_bytes) + " bytes";
        describe(SHARED_TOO_LARGE, nullptr, 0, {"", line}, detail.c_str());
        stop();
    }
    Array& array = launch.arrays.emplace_back();
    array.name = name;
    array.line = line;
    array.storage.resize(count * sizeof(T));
    array.data = array.storage.data();
    array.count = count;
    array.element = sizeof(T);
    array.shared = true;
    array.elements.resize(count);
    return {&array, 0};
}

template <class T> static inline T exchange(unsigned mask, T value, unsigned source, Place place) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    Thread& thread = launch.threads[running.thread];
    thread.source = source;
    memcpy(&thread.published, &value, sizeof value);
    memcpy(&value, &wait(AT_SHUFFLE, mask, place).received, sizeof value);
    return value;
}

// One parameter of the kernel out of the arguments; null `array` and a fault where it does not fit.
template <class P> struct Take {
    static P from(const Argument& argument) {
        if (std::is_integral<P>::value ? argument.type != INTEGER : argument.type != REAL) refuse(argument, "is of another type");
        if (std::is_integral<P>::value && static_cast<int64_t>(static_cast<P>(argument.integer)) != argument.integer)
            refuse(argument, "does not fit its type");
        return std::is_integral<P>::value ? static_cast<P>(argument.integer) : static_cast<P>(argument.real);
    }
    static void refuse(const Argument& argument, const char* why) {
        std::string detail = std::string("argument ") + argument.name + " " + why + " in the kernel";
        describe(BAD_ARGUMENT, nullptr, 0, {"", 0}, detail.c_str());
    }
};

template <class T> constexpr int32_t type_of() {
    using U = std::remove_const_t<T>;
    return std::is_same<U, signed char>::value      ? ARRAY_I8
           : std::is_same<U, unsigned char>::value  ? ARRAY_U8
           : std::is_same<U, unsigned short>::value ? ARRAY_U16
           : std::is_same<U, int>::value            ? ARRAY_I32
           : std::is_same<U, unsigned>::value       ? ARRAY_U32
           : std::is_same<U, float>::value          ? ARRAY_F32
                                                    : -1;
}

template <class T> struct Take<Pointer<T>> {
    static Pointer<T> from(const Argument& argument) {
        static_assert(type_of<T>() >= 0, "the emulator has no arrays of this type");
        if (argument.type != type_of<T>()) Take<int>::refuse(argument, "is of another type");
        if (!std::is_const<T>::value && !argument.writable) Take<int>::refuse(argument, "is written, but was given as an input");
        Array& array = launch.arrays.emplace_back();
        array.name = argument.name;
        array.data = static_cast<char*>(argument.data);
        array.count = argument.count;
        array.element = sizeof(T);
        if (!std::is_const<T>::value) array.elements.resize(argument.count);
        return {&array, 0};
    }
};

template <class... P> struct Bound {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
    static void call(void* bound) {
        Bound& self = *static_cast<Bound*>(bound);
        std::apply(self.kernel, self.arguments);
    }
};

template <class... P> static void run(void (*kernel)(P...), const Request& request, Report& report) {
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> lock(one_at_a_time);
    launch = Launch{};
    running = Running{};
    launch.report = &report;
    running.fault = &report.fault;
    if (request.count != sizeof...(P))
        return describe(BAD_ARGUMENT, nullptr, 0, {"", 0}, "the kernel has another number of parameters than `//@ args:` lists");
    const Argument* argument = request.arguments;
    Bound<P...> bound{kernel, {Take<P>::from(*argument++)...}};
    if (report.fault.kind) return;
    launch.call = Bound<P...>::call;
    launch.bound = &bound;
    run_grid(request);
    launch = Launch{};
}

}  // namespace emulation

#define EMULATION_ENTRY(kernel) \
    extern "C" __attribute__((visibility("default"))) void emulation_run(const emulation::Request* request, emulation::Report* report) { \
        emulation::run(kernel, *request, *report); \
    }

#include "emulation_device.h"
