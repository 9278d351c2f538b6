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
// Four values to another block's shared memory, their bytes counted by a barrier there. Of each type as it is: a move to another register would
// be free to go before the wait for the products.
DEVICE void send(u32 there, const float* four, u32 heard) {
    asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];"
                 ::"r"(there), "f"(four[0]), "f"(four[1]), "f"(four[2]), "f"(four[3]), "r"(heard) : "memory");
}
DEVICE void send(u32 there, const int* four, u32 heard) {
    asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.s32 [%0], {%1, %2, %3, %4}, [%5];"
                 ::"r"(there), "r"(four[0]), "r"(four[1]), "r"(four[2]), "r"(four[3]), "r"(heard) : "memory");
}

// Sends a thread's sums of the SHARES to their owners, if these are others. `room` has space for a share of each of GROUPS warpgroups of
// every other part; nobody may be using it for anything else, in any block. `rank` is this block's, blocks of one part lie `stride` ranks
// before those of the next.
template <int SHARES, int GROUPS, int COUNT, typename T>
DEVICE void send_shares(const T (&sum)[COUNT], unsigned char* room, u64* heard, int part, int rank, int stride, int group, int thread) {
    constexpr int SHARE = COUNT / SHARES;
#pragma unroll
    for (int owner = 0; owner < SHARES; ++owner) {
        if (owner == part) continue;
        const int slot = (part - (part > owner)) * GROUPS + group;
        const u32 whose = rank + (owner - part) * stride, barrier = address_at(heard, whose);
        const u32 there = address_at(room, whose) + (slot * SHARE * 128 + thread * 4) * 4;
#pragma unroll
        for (int i = 0; i < SHARE; i += 4) send(there + i * 512, sum + owner * SHARE + i, barrier);
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

// Parts that own a share of COLUMNS columns: all, or the first alone where a share would be no multiple of 16, of which a store is made.
template <int PARTS, int COLUMNS> DEVICE constexpr int owners() { return COLUMNS % (PARTS * 16) == 0 ? PARTS : 1; }

// Bytes of the room that a block needs for what it hears.
template <int PARTS, int GROUPS, int COLUMNS> DEVICE constexpr int room_bytes() {
    return (PARTS - 1) * GROUPS * (COLUMNS / owners<PARTS, COLUMNS>()) * 64 * 4;
}

// Before the cluster first meets, by one thread: what `heard` will count, if this part owns a share.
template <int PARTS, int GROUPS, int COLUMNS> DEVICE void expect_shares(u64* heard, int part) {
    barrier_init(heard, 1);
    if (part < owners<PARTS, COLUMNS>()) barrier_expect(heard, room_bytes<PARTS, GROUPS, COLUMNS>());
}

// The whole exchange, by all consumers of the cluster, where a block's thread holds sums of 64 rows by COLUMNS. Calls `store` with the share
// that is this block's, if any is, and its first column. Who consumes nothing calls `shares_pass` in the same place.
template <int PARTS, int GROUPS, int COLUMNS, typename T, typename Store>
DEVICE void share_tile(T (&sum)[COLUMNS / 2], unsigned char* room, u64* heard, int part, int rank, int stride, int group, int thread,
                       Store&& store) {
    constexpr int SHARES = owners<PARTS, COLUMNS>(), SHARE = COLUMNS / SHARES;
    cluster_meet();  // all products are done: the rings are free
    send_shares<SHARES, GROUPS>(sum, room, heard, part, rank, stride, group, thread);
    if (part >= SHARES) return;
    barrier_wait(heard, 0);
#pragma unroll
    for (int owner = 0; owner < SHARES; ++owner) {
        if (owner != part) continue;
        auto& share = reinterpret_cast<T(&)[SHARE / 2]>(sum[owner * SHARE / 2]);
        add_shares<PARTS, GROUPS>(share, room, group, thread);
        store(share, owner * SHARE);
    }
}
DEVICE void shares_pass() { cluster_meet(); }
