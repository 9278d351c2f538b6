// Sums of one tile that the blocks of a cluster have computed from different parts of k, added up through each other's shared memory.
//
// Every part owns an equal share of the tile's columns (or the first part all, where that would be too few): it hears the others' sums of
// these columns, and sends its own sums of the rest to whose they are. All blocks send and add at the same time, and nothing leaves the
// chip; through the workspace (stream_k.h) sums go to L2 and back, and the one who owns the tile adds them alone.
#pragma once
#include "stream_k.h"

// The address of `here` in block `rank` of the cluster.
DEVICE u32 address_at(const void* here, u32 rank) {
    u32 there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(here)), "r"(rank));
    return there;
}
DEVICE void store_at(u32 there, float a, float b, float c, float d) {
    asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(there), "f"(a), "f"(b), "f"(c), "f"(d) : "memory");
}
DEVICE void store_at(u32 there, int a, int b, int c, int d) {
    asm volatile("st.shared::cluster.v4.s32 [%0], {%1, %2, %3, %4};" ::"r"(there), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

// Sends a thread's sums of the SHARES to their owners, if these are others. `room` has space for a share of each of GROUPS warpgroups of
// every other part; nobody may be using it for anything else, in any block. `rank` is this block's, blocks of one part lie `stride` ranks
// before those of the next.
template <int SHARES, int GROUPS, int COUNT, typename T>
DEVICE void send_shares(const T (&sum)[COUNT], unsigned char* room, int part, int rank, int stride, int group, int thread) {
    constexpr int SHARE = COUNT / SHARES;
#pragma unroll
    for (int owner = 0; owner < SHARES; ++owner) {
        if (owner == part) continue;
        const int slot = (part - (part > owner)) * GROUPS + group;
        const u32 there = address_at(room, rank + (owner - part) * stride) + (slot * SHARE * 128 + thread * 4) * 4;
#pragma unroll
        for (int i = 0; i < SHARE; i += 4) {
            const T* of = sum + owner * SHARE + i;
            store_at(there + i * 512, of[0], of[1], of[2], of[3]);
        }
    }
}

// Adds to a share what the others of SHARERS have sent, in their order.
template <int SHARERS, int GROUPS, int SHARE, typename T>
DEVICE void add_shares(T (&share)[SHARE], const unsigned char* room, int group, int thread) {
#pragma unroll
    for (int slot = 0; slot < SHARERS - 1; ++slot) {
        const T* from = reinterpret_cast<const T*>(room) + (slot * GROUPS + group) * SHARE * 128;
#pragma unroll
        for (int i = 0; i < SHARE; i += 4) {
            const Four<T> four = *reinterpret_cast<const Four<T>*>(from + i * 128 + thread * 4);
#pragma unroll
            for (int j = 0; j < 4; ++j) share[i + j] += four.v[j];
        }
    }
}

// The whole exchange, by all consumers of the cluster, where a block's thread holds sums of 64 rows by COLUMNS. Calls `store` with the share
// that is this block's, if any is, and its first column. Who consumes nothing calls `shares_pass` in the same place.
template <int PARTS, int GROUPS, int COLUMNS, typename T, typename Store>
DEVICE void share_tile(T (&sum)[COLUMNS / 2], unsigned char* room, int part, int rank, int stride, int group, int thread, Store&& store) {
    constexpr int SHARES = COLUMNS / PARTS >= 16 ? PARTS : 1, SHARE = COLUMNS / SHARES;
    cluster_sync();  // all products are done: the rings are free
    send_shares<SHARES, GROUPS>(sum, room, part, rank, stride, group, thread);
    cluster_sync();
#pragma unroll
    for (int owner = 0; owner < SHARES; ++owner) {
        if (owner != part) continue;
        auto& share = reinterpret_cast<T(&)[SHARE / 2]>(sum[owner * SHARE / 2]);
        add_shares<PARTS, GROUPS>(share, room, group, thread);
        store(share, owner * SHARE);
    }
}
DEVICE void shares_pass() { cluster_sync(), cluster_sync(); }
