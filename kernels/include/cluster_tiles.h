// A cluster of CL blocks along P by CR along Q, the same for each part of k: who shares a tile with whom, and loads for all who do.
//
// Blocks of one line along P need the same tile of Q, those of one column along Q the same tile of P. Each fetches a part of it and the
// TMA unit puts it into all of them, so that L2 is asked once. The price: a stage is free when all who get a part of it say so.
#pragma once
#include "sm90.h"

#define CLUSTER (CL * CR)
#define SHARERS (CL + CR - 1)  // blocks that share a tile with a block, itself among them

// Where a block is.
struct ClusterPlace {
    int first;          // the rank of the first block that does this block's part of k
    int rank;           // of the block, counted from there
    int along, across;  // along P and along Q

    MEMBER explicit ClusterPlace(int at) : first(at / CLUSTER * CLUSTER), rank(at % CLUSTER), along(rank % CL), across(rank / CL) {}
    // Masks of the blocks that share its tile of Q, and of P.
    MEMBER int line() const { return (1 << CL) - 1 << first + across * CL; }
    MEMBER int column() const { return ((1 << CLUSTER) - 1) / ((1 << CL) - 1) << first + along; }
    // The rank of the sharer of that number: those of its line, then the others of its column.
    MEMBER u32 sharer(int number) const {
        const int other = number - CL;
        return first + (other < 0 ? across * CL + number : (other + (other >= across)) * CL + along);
    }
};

// ROWS rows of a tile of 128-byte rows. Where PARTS blocks need them, each fetches its part for all of `mask`. The policy is for SWAP.
template <int ROWS, int PARTS>
DEVICE void load_rows(unsigned char* to, const TensorMap& map, u64* barrier, int x, int y, int part, int mask, u64 policy) {
    if (PARTS > 1)
        tma_load_multicast(to + part * (ROWS / PARTS * 128), map, barrier, x, y + part * (ROWS / PARTS), mask);
    else
        SWAP ? tma_load(to, map, barrier, x, y, policy) : tma_load(to, map, barrier, x, y);
}
