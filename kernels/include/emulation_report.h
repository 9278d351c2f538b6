// What the emulator takes from Rust and gives back: plain structs, with the same fields in the same order in `src/emulation.rs`.
#pragma once

#include <cstdint>

namespace emulation {

// An argument of the kernel, by type: `type` as in `Type`, an array as address and count, a number as `integer` or `real`.
struct Argument {
    const char* name;
    void* data;
    uint64_t count;
    int64_t integer;
    double real;
    int32_t type;
    int32_t writable;
};

struct Request {
    uint32_t grid[3];
    uint32_t threads;
    const Argument* arguments;
    uint64_t count;
};

enum Type : int32_t { INTEGER, REAL, ARRAY_I8, ARRAY_U8, ARRAY_U16, ARRAY_I32, ARRAY_U32, ARRAY_F32 };

enum Kind : int32_t { GLOBAL_LOAD, GLOBAL_STORE, SHARED_LOAD, SHARED_STORE };

enum FaultKind : int32_t {
    NONE, OUT_OF_BOUNDS, MISALIGNED, RACE, NEVER_WRITTEN, BARRIER_DIVERGENCE, DEADLOCK, BAD_SHUFFLE, SHARED_TOO_LARGE, BAD_ARGUMENT, LIMIT,
    UNSOLVED
};

// One access in the source, and what all warps together did there. A transaction is a sector of 32 bytes of global memory, or
// a wavefront of shared memory; `ideal` is how many of them the same bytes would have needed at best.
struct SiteCounts {
    char array[32];
    char file[64];
    int32_t line;
    int32_t kind;
    uint64_t instructions, partial, bytes, transactions, ideal, worst;
};

struct Fault {
    int32_t kind;
    uint32_t block[3];
    int32_t thread, other;        // -1 where none
    int32_t line, other_line;     // 0 where none
    int32_t wrote, other_wrote;   // what the two did, of a race
    int32_t other_block;          // whether the other is of another block
    int32_t padding;
    int64_t index;
    uint64_t count;               // elements of the array
    char array[32];
    char file[64];
    char detail[256];
};

struct Report {
    uint64_t barriers, warp_barriers, shuffles;
    uint64_t site_count;
    SiteCounts sites[256];
    Fault fault;
};

// Where an access or a barrier stands in the source.
struct Place {
    const char* file;
    int line;
};

}  // namespace emulation
