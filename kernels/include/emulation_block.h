// The scheduler of the emulator: blocks one after another, and within a block the lanes of each warp until all of them wait or
// have returned. Then either a barrier opens, or it never can: that is reported with who waits where.
#pragma once

#include "emulation_fiber.h"
#include "emulation_memory.h"

#include <list>
#include <mutex>
#include <tuple>

namespace emulation {

enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, AT_SHUFFLE, RETURNED };

struct Thread {
    Context context;
    State state = RETURNED;
    Place place{"", 0};
    uint32_t mask = 0;           // lanes that take part in the warp barrier or shuffle
    unsigned source = 0;         // of a shuffle: the lane whose value is wanted
    uint64_t published = 0, received = 0;
};

struct Index3 {
    unsigned x = 0, y = 0, z = 0;
};

struct Launch {
    Context scheduler;
    Report* report = nullptr;
    std::vector<Thread> threads;
    std::vector<uint32_t> warp_intervals;
    std::list<Array> arrays;     // a list: pointers to its members stay valid
    size_t shared_bytes = 0;
    Index3 thread_index, block_index, block_size, grid_size;
    void (*call)(void*) = nullptr;
    void* bound = nullptr;       // kernel and arguments, for `call`
};
static Launch launch;

[[noreturn]] static void stop() {
    Context abandoned;
    resume(abandoned, launch.scheduler);
    __builtin_trap();  // nothing resumes a fiber that has failed
}

static inline void fiber() {
    launch.call(launch.bound);
    launch.threads[running.thread].state = RETURNED;
    stop();
}

static inline Thread& wait(State state, uint32_t mask, Place place) {
    Thread& thread = launch.threads[running.thread];
    thread.state = state;
    thread.mask = mask;
    thread.place = place;
    resume(thread.context, launch.scheduler);
    return thread;
}

// Says of each thread of a block where it is, neighbours in the same place together.
static inline void describe_waiting(FaultKind kind) {
    std::string whole;
    const std::vector<Thread>& threads = launch.threads;
    const char* doing[] = {"run", "wait in __syncthreads", "wait in __syncwarp", "wait in a shuffle", "have returned"};
    Place place{"", 0};
    for (size_t first = 0, end; first < threads.size(); first = end) {
        const Thread& one = threads[first];
        for (end = first + 1; end < threads.size(); ++end)
            if (threads[end].state != one.state || (one.state != RETURNED && threads[end].place.line != one.place.line)) break;
        if (!whole.empty()) whole += "; ";
        whole += "thread" + std::string(end - first > 1 ? "s " : " ") + std::to_string(first);
        if (end - first > 1) whole += ".." + std::to_string(end - 1);
        whole += std::string(" ") + doing[one.state];
        if (one.state == RETURNED) continue;
        whole += " at line " + std::to_string(one.place.line);
        place = one.place;
    }
    if (whole.size() > 250) whole = whole.substr(0, 247) + "...";
    describe(kind, nullptr, 0, place, whole.c_str());
    running.fault->thread = -1;
}

// Lets the lanes of a warp go on that wait for each other and for no one else. Returns whether there were any.
static inline bool open_warp(unsigned warp) {
    Thread* lanes = &launch.threads[warp * LANES];
    unsigned count = static_cast<unsigned>(launch.threads.size()) - warp * LANES;
    if (count > LANES) count = LANES;
    uint32_t present = 0;
    for (unsigned lane = 0; lane < count; ++lane) present |= uint32_t{lanes[lane].state != RETURNED} << lane;
    for (unsigned first = 0; first < count; ++first) {
        const Thread one = lanes[first];
        if (one.state != AT_WARP_BARRIER && one.state != AT_SHUFFLE) continue;
        uint32_t needed = one.mask & present;
        auto same = [&](unsigned lane) {
            const Thread& other = lanes[lane];
            return other.state == one.state && other.mask == one.mask && other.place.line == one.place.line;
        };
        bool all = needed >> first & 1;
        for (unsigned lane = 0; lane < count; ++lane)
            if ((needed >> lane & 1) && !same(lane)) all = false;
        if (!all) continue;
        for (unsigned lane = 0; lane < count; ++lane) {
            if (!(needed >> lane & 1)) continue;
            lanes[lane].state = READY;
            if (one.state != AT_SHUFFLE) continue;
            unsigned source = lanes[lane].source;
            if (!(needed >> source & 1)) {
                running.thread = warp * LANES + lane;
                std::string detail = "lane " + std::to_string(source) + " takes no part in it";
                describe(BAD_SHUFFLE, nullptr, source, one.place, detail.c_str());
                return false;
            }
            lanes[lane].received = lanes[source].published;
        }
        if (one.state == AT_SHUFFLE) {
            launch.report->shuffles += 1;
        } else {
            launch.report->warp_barriers += 1;
            if (needed == present) launch.warp_intervals[warp] += 1;  // a barrier of some lanes orders no accesses here
        }
        return true;
    }
    return false;
}

// Runs a warp until all its lanes have returned or wait at the block's barrier.
static inline void run_warp(unsigned warp) {
    Fault& fault = launch.report->fault;
    size_t first = size_t{warp} * LANES, end = first + LANES;
    if (end > launch.threads.size()) end = launch.threads.size();
    running.live = 0;
    for (size_t i = first; i < end; ++i) running.live |= uint32_t{launch.threads[i].state != RETURNED} << (i - first);
    if (!running.live) return;
    do {
        running.warp_interval = launch.warp_intervals[warp];
        for (size_t i = first; i < end; ++i) {
            if (launch.threads[i].state != READY) continue;
            running.thread = static_cast<uint32_t>(i);
            running.lane = static_cast<uint32_t>(i - first);
            launch.thread_index.x = running.thread;
            resume(launch.scheduler, launch.threads[i].context);
            if (fault.kind) return;
        }
    } while (open_warp(warp));
    if (fault.kind) return;
    for (size_t i = first; i < end; ++i) {
        if (launch.threads[i].state == AT_WARP_BARRIER || launch.threads[i].state == AT_SHUFFLE) return describe_waiting(DEADLOCK);
    }
    for (Array& array : launch.arrays) account(array);
}

static inline void run_block(const Stacks& stacks) {
    Fault& fault = launch.report->fault;
    for (size_t i = 0; i < launch.threads.size(); ++i) {
        launch.threads[i].state = READY;
        prepare(launch.threads[i].context, stacks.of(i), stacks.size(), fiber);
    }
    running.first_interval = ++running.interval;
    for (;;) {
        for (unsigned warp = 0; warp < launch.warp_intervals.size(); ++warp) {
            run_warp(warp);
            if (fault.kind) return;
        }
        if (running.never_written.kind) {
            fault = running.never_written;
            return;
        }
        size_t waiting = 0;
        bool together = true;
        for (const Thread& thread : launch.threads) {
            waiting += thread.state == AT_BLOCK_BARRIER;
            together = together && thread.place.line == launch.threads[0].place.line;
        }
        if (waiting == 0) return;
        if (waiting < launch.threads.size() || !together) return describe_waiting(BARRIER_DIVERGENCE);
        for (Thread& thread : launch.threads) thread.state = READY;
        launch.report->barriers += 1;
        running.interval += 1;
    }
}

static inline void give_back_sites() {
    Report& report = *launch.report;
    constexpr uint64_t most = sizeof report.sites / sizeof report.sites[0];
    for (Array& array : launch.arrays)
        for (const Site& site : array.sites) {
            if (report.site_count == most) return describe(LIMIT, nullptr, 0, {"", 0}, "more than 256 accesses in the source");
            report.sites[report.site_count++] = site.counts;
        }
}

static inline void run_grid(const Request& request) {
    Index3& block = launch.block_index;
    Fault& fault = launch.report->fault;
    launch.threads.resize(request.threads);
    launch.warp_intervals.resize((request.threads + LANES - 1) / LANES);
    launch.block_size = {request.threads, 1, 1};
    launch.grid_size = {request.grid[0], request.grid[1], request.grid[2]};
    Stacks stacks(request.threads);
    if (!stacks.valid()) return describe(LIMIT, nullptr, 0, {"", 0}, "the system gives no memory for the threads' stacks");
    for (block.z = 0; block.z < request.grid[2]; ++block.z)
        for (block.y = 0; block.y < request.grid[1]; ++block.y)
            for (block.x = 0; block.x < request.grid[0]; ++block.x) {
                run_block(stacks);
                if (!fault.kind) continue;
                fault.block[0] = block.x;
                fault.block[1] = block.y;
                fault.block[2] = block.z;
                return;
            }
    give_back_sites();
}

}  // namespace emulation
