// Which k-steps of which tiles a worker does, and how workers that share a tile add up (stream-K: Osama et al. 2023, arXiv 2301.03598).
//
// The first `whole` tiles go round the workers, a tile each. The k-steps of the tiles beyond them, laid end to end, are cut into equal
// ranges, one a worker, so that the last wave is as full as the others. Where a cut falls within a tile, the worker that has its end owns
// it: the others leave f32 sums in the workspace and raise a flag; the owner waits, adds, and stores. A worker goes through its range
// from the end, so what others wait for is done first; and owners only wait for workers of lower number, which the hardware started
// before them: no deadlock even when not all workers fit on the machine at once. Sums are added in a fixed order: results repeat.
#pragma once
#include "sm90.h"

struct Schedule {
    int ksteps, worker;           // k-steps of a tile; this worker
    int whole;                    // tiles that are not shared
    int share, longer;            // steps of a worker's range; how many workers have one more
    int low, position;            // what is left of the shared range: k-steps [low, position)
    int next_whole;
    int from, to;        // k-steps of a tile that is not shared
    int tile, k, k_end;  // the present segment: k-steps [k, k_end) of `tile`

    // `part` of `parts`: where a worker is a cluster whose blocks divide k among them.
    MEMBER Schedule(int tiles, int whole, int ksteps, int worker, int workers, int part = 0, int parts = 1)
        : ksteps(ksteps), worker(worker), whole(whole), next_whole(worker), from(part * ksteps / parts), to((part + 1) * ksteps / parts) {
        share = (tiles - whole) * ksteps / workers;
        longer = (tiles - whole) * ksteps % workers;
        low = start(worker);
        position = start(worker + 1);
    }
    // Where worker w's range begins: the first ranges are a step longer where the cut does not come out even.
    MEMBER int start(int w) const { return w * share + min(w, longer); }

    // Moves to the next segment.
    MEMBER bool next(int workers) {
        if (position > low) {
            int shared_tile = (position - 1) / ksteps, first = shared_tile * ksteps;
            tile = whole + shared_tile;
            k_end = position - first;
            k = max(low - first, 0);
            position = first + k;
            return true;
        }
        if (next_whole >= whole) return false;
        tile = next_whole;
        next_whole += workers;
        k = from;
        k_end = to;
        return true;
    }
    // The first worker that shares the present tile.
    MEMBER int first_sharer() const {
        int first = (tile - whole) * ksteps, w = worker;
        while (w > 0 && start(w) > first) --w;
        return w;
    }
};

// Whether there is no tile for this worker. Where two blocks fit a multiprocessor it keeps its place for a microsecond, in which those of the
// kernel behind find theirs. So each multiprocessor gets a block, also one without work: where a launch had fewer blocks than there are
// multiprocessors, some were seen to get two of the next launch's, for which all others wait.
DEVICE bool without_work(int tiles, int whole, int worker) {
    if (whole < tiles || worker < tiles) return false;
    previous_done();
    __nanosleep(1000);
    return true;
}

// Tiles in groups of `group` along p, p fastest within a group: what runs at the same time shares operands in L2.
DEVICE void tile_place(int tile, int tiles_p, int tiles_q, int group, int& p, int& q) {
    int of_group = tile / (group * tiles_q), within = tile % (group * tiles_q);
    int size = min(group, tiles_p - of_group * group);
    p = of_group * group + within % size;
    q = within / size;
}

// Four values at once; lane after lane, so that a warp's access is one line after another.
template <typename T> struct alignas(16) Four {
    T v[4];
};

// Waits for the THREADS that share a tile's sums: a warpgroup, or a warp.
template <int THREADS> DEVICE void meet(int barrier) { THREADS == 32 ? __syncwarp() : named_barrier(barrier, THREADS); }

// Leaves the sums of THREADS, COUNT a thread, for the owner: `slot` holds COUNT * THREADS values.
template <int THREADS = 128, int COUNT, typename T> DEVICE void leave_sums(const T (&sum)[COUNT], T* slot, int* flag, int thread, int barrier) {
#pragma unroll
    for (int i = 0; i < COUNT; i += 4)
        reinterpret_cast<Four<T>*>(slot)[i / 4 * THREADS + thread] = {{sum[i], sum[i + 1], sum[i + 2], sum[i + 3]}};
    __threadfence();  // the release would be enough: without this fence most products that are cut take longer, by up to a fiftieth
    meet<THREADS>(barrier);
    if (thread == 0) asm volatile("st.release.gpu.global.s32 [%0], 1;" ::"l"(flag) : "memory");
}

// Waits for `count` flags, `stride` apart, all at the same time, and lowers them for the next launch.
template <int THREADS = 128> DEVICE void await_flags(int* flags, int count, int stride, int thread, int barrier) {
    for (int i = thread; i < count; i += THREADS) {
        int raised = 0;
        while (!raised) asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(raised) : "l"(flags + i * stride) : "memory");
        flags[i * stride] = 0;
    }
    meet<THREADS>(barrier);
}

// Adds what another worker left.
template <int THREADS = 128, int COUNT, typename T> DEVICE void add_sums(T (&sum)[COUNT], const T* slot, int thread) {
#pragma unroll
    for (int i = 0; i < COUNT; i += 4) {
        Four<T> four = reinterpret_cast<const Four<T>*>(slot)[i / 4 * THREADS + thread];
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i + j] += four.v[j];
    }
}

// Whether this worker owns the tile that it has just summed its segment of; then `sum` is whole. `mine` is the slot of these THREADS in the
// workspace, `stride` the slots of a worker. AHEAD workers' sums are asked for before the first is added: registers for time.
template <int THREADS = 128, int AHEAD = 4, int COUNT, typename T>
DEVICE bool settle(const Schedule& at, T (&sum)[COUNT], T* slots, int* flags, int mine, int stride, int thread, int barrier) {
    if (at.k_end < at.ksteps) {
        leave_sums<THREADS>(sum, slots + (long long)mine * COUNT * THREADS, flags + mine, thread, barrier);
        return false;
    }
    if (at.k > 0) {
        const int sharers = at.worker - at.first_sharer(), first = mine - sharers * stride;
        await_flags<THREADS>(flags + first, sharers, stride, thread, barrier);
#pragma unroll(COUNT <= 16 ? AHEAD : 1)
        for (int i = 0; i < sharers; ++i) add_sums<THREADS>(sum, slots + (long long)(first + i * stride) * COUNT * THREADS, thread);
    }
    return true;
}
