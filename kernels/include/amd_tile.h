// Tiles of a matrix with k innermost, from global memory through registers into LDS: what CDNA's and RDNA's GEMMs share.
//
// A row of a tile is 128 bytes of k: eight chunks of 16 bytes, once around the 32 banks. Lanes read one chunk each of different rows,
// which would be the same four banks for all; the chunk's place is therefore XORed with a key of its row that takes all eight values
// over the rows that are read together.
#pragma once
#include "gpu.h"

typedef unsigned Chunk __attribute__((ext_vector_type(4)));  // 16 bytes: what one load or one LDS access of a lane moves
constexpr int CHUNKS = 8;                                    // of a row

// The matrix instructions give a lane results of SPAN/T consecutive rows; with the rows that T tiles read interleaved, their results
// are SPAN consecutive ones. The key below is constant over a lane's own rows.
template <int SPAN> constexpr __device__ __forceinline__ int place(int row, int chunk) {
    return row * CHUNKS + (chunk ^ (row % 4 | row / SPAN % 2 * 4));
}
// LDS serves eight lanes at a time where each wants 16 bytes: neighbours, or on CDNA two fours such as 0..3 with 12..15. Either way they
// are eight neighbours around a circle of 16, and their chunks must lie in eight different places of the 128 bytes.
template <class Fragment> constexpr bool conflict_free() {
    for (int start = 0; start < 16; start += 4) {
        int places = 0;
        for (int i = start; i < start + 8; ++i) places |= 1 << place<Fragment::SPAN>(Fragment::row_of(i % 16), 0) % CHUNKS;
        if (places != 255) return false;
    }
    return true;
}

// ROWS rows of a matrix, 128 bytes of k at a time, spread over THREADS threads.
template <class T, int ROWS, int THREADS> struct Panel {
    static constexpr int COUNT = ROWS * CHUNKS / THREADS, WIDTH = 16 / sizeof(T);
    static_assert(COUNT * THREADS == ROWS * CHUNKS, "every thread holds the same number of chunks");
    const T* start;          // the same for all lanes: lives in scalar registers
    unsigned offset[COUNT];  // bytes, 32 bits a lane
    Chunk held[COUNT];

    // Rows past the last are read as the last: their results are never stored.
    __device__ __forceinline__ Panel(const T* matrix, int first, int rows, int K) : start(matrix + (long)first * K) {
        for (int i = 0; i < COUNT; ++i) {
            unsigned chunk = threadIdx.x + i * THREADS, row = min<unsigned>(chunk / CHUNKS, rows - first - 1);
            offset[i] = row * K * sizeof(T) + chunk % CHUNKS * 16;
        }
    }

    // Asks for k .. k + 128 bytes. The registers are waited for where they are used, which is in the next call of `store`.
    __device__ __forceinline__ void fetch(int k, int K) {
        const char* from = (const char*)(start + k);
        if (k + CHUNKS * WIDTH <= K) {
            for (int i = 0; i < COUNT; ++i) __builtin_memcpy(&held[i], from + offset[i], 16);
            return;
        }
        // The last part of k, element by element: zeros past the end add nothing.
        int valid = K - k - int(threadIdx.x) % CHUNKS * WIDTH;
        for (int i = 0; i < COUNT; ++i) {
            T part[WIDTH];
            for (int e = 0; e < WIDTH; ++e) part[e] = e < valid ? ((const T*)(from + offset[i]))[e] : T{};
            __builtin_memcpy(&held[i], part, 16);
        }
    }

    template <int SPAN> __device__ __forceinline__ void store(Chunk* tile) {
        for (int i = 0; i < COUNT; ++i) {
            int chunk = threadIdx.x + i * THREADS;
            tile[place<SPAN>(chunk / CHUNKS, chunk % CHUNKS)] = held[i];
        }
    }
};

// COUNT consecutive results of a row of C. As a vector they are stored 16 bytes at a time; an array would be taken apart.
template <class Out, int COUNT> using Results = Out __attribute__((ext_vector_type(COUNT)));
// Writes those of them that are within the row, of which `left` lie ahead. Rows need no alignment.
template <class Out, int COUNT> DEVICE void write_row(Out* to, Results<Out, COUNT> results, int left) {
    struct __attribute__((packed)) Unaligned { Results<Out, COUNT> results; };
    if (left >= COUNT) {
        ((Unaligned*)to)->results = results;
        return;
    }
    for (int i = 0; i < COUNT; ++i)
        if (i < left) to[i] = results[i];
}

// The wave's number within its block, known to the compiler as one value for all its lanes.
DEVICE int wave_index() { return __builtin_amdgcn_readfirstlane(threadIdx.x / WARP); }

struct TileAt { int m, n; };
// The order of C's tiles. Blocks go round-robin to XCDS dies, each with an L2 of its own: first give each die a run of consecutive
// tiles, then walk those in columns of GROUP tiles, so that what runs at the same time shares rows of A and of B.
template <int XCDS, int GROUP> DEVICE TileAt tile_order(int block, int tiles_m, int tiles_n) {
    int tiles = tiles_m * tiles_n, die = block % XCDS;
    int id = die * (tiles / XCDS) + min(die, tiles % XCDS) + block / XCDS;
    int group = id / (GROUP * tiles_n), first = group * GROUP, height = min(GROUP, tiles_m - first);
    int within = id - first * tiles_n;
    return {first + within % height, within / height};
}
