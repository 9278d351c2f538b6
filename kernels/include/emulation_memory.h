// Arrays of the emulated kernel: bounds, order of accesses to shared memory, and how the accesses of a warp fall together.
//
// A GPU counts by warp instruction, but the lanes of an emulated warp run one after another. Each lane therefore notes its accesses
// by site (array, line, kind, width), and the n-th access of every lane at a site, between two barriers, makes up one warp instruction. That is
// what a warp does in which all lanes go through the same loops. `account` then counts what the hardware would move for it.
#pragma once

#include "emulation_report.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace emulation {

constexpr unsigned LANES = 32;
constexpr unsigned SECTOR = 32;  // bytes that one transaction with global memory moves
constexpr unsigned BANKS = 32;   // of 4 bytes each, in shared memory

// When and by whom an element was touched. Times are numbers of barriers passed: two accesses of a block are ordered if a
// block barrier lies between them or, for two lanes of a warp, a warp barrier. Nothing orders what two blocks do.
struct Touch {
    uint32_t interval = 0, warp_interval = 0;
    uint16_t thread = 0, line = 0;
};

// The last write, and enough readers since the last barrier to find one that a new write collides with: one, and another lane
// of its warp. Warps take turns, so a reader of an earlier warp collides with whatever write comes later, and is kept.
struct Element {
    Touch write, reader, same_warp;
};

// One access in the source.
struct Site {
    SiteCounts counts{};
    const char* file = nullptr;
    unsigned bytes = 0;
    unsigned executed[LANES] = {};     // by lane, since the log was last accounted
    std::vector<uint32_t> lanes;       // by warp instruction: which lanes took part
    std::vector<uint64_t> offsets;     // by warp instruction and lane: bytes from the array's start
};

struct Array {
    std::string name;
    char* data = nullptr;
    uint64_t count = 0;
    unsigned element = 0;              // bytes
    bool shared = false;
    int line = 0;                      // of a shared array: where it is declared
    std::vector<char> storage;         // of a shared array
    std::vector<Element> elements;     // of an array that is written, else empty
    std::vector<Site> sites;
    size_t recent = 0;
};

// Who runs now: set by the scheduler, read at each access.
struct Running {
    uint32_t thread = 0, lane = 0;
    uint32_t live = 0;                 // lanes of the warp that had not returned at the last block barrier
    uint32_t interval = 0, first_interval = 0, warp_interval = 0;
    Fault* fault = nullptr;
    Fault never_written{};             // found, but a write until the next barrier would make it a race
};
static Running running;

[[noreturn]] static void stop();  // back to the scheduler for good

static inline void text(char* to, size_t size, const char* from) { snprintf(to, size, "%s", from); }

static inline void describe(FaultKind kind, const Array* array, int64_t index, Place place, const char* detail = "") {
    Fault& fault = *running.fault;
    fault.kind = kind;
    fault.thread = static_cast<int32_t>(running.thread);
    fault.line = place.line;
    fault.index = index;
    text(fault.file, sizeof fault.file, place.file);
    text(fault.detail, sizeof fault.detail, detail);
    if (array) {
        fault.count = array->count;
        text(fault.array, sizeof fault.array, array->name.c_str());
    }
}

[[noreturn]] static inline void race(const Array& array, int64_t index, Place place, bool writes, const Touch& with, bool wrote) {
    describe(RACE, &array, index, place);
    running.fault->other = with.thread;
    running.fault->other_line = with.line;
    running.fault->wrote = writes;
    running.fault->other_wrote = wrote;
    running.fault->other_block = with.interval < running.first_interval;
    stop();
}

static inline bool same_warp(const Touch& touch) { return touch.thread / LANES == running.thread / LANES; }

// Whether nothing orders an earlier access of another thread before what the running thread does now.
static inline bool collides(const Array& array, const Touch& touch) {
    if (touch.interval < running.first_interval) return !array.shared && touch.interval > 0;  // another block, on the same memory
    if (touch.interval != running.interval || touch.thread == running.thread) return false;
    return !(same_warp(touch) && touch.warp_interval != running.warp_interval);
}

static inline void check_order(Array& array, int64_t index, bool writes, Place place) {
    Element& element = array.elements[index];
    Touch now{running.interval, running.warp_interval, static_cast<uint16_t>(running.thread), static_cast<uint16_t>(place.line)};
    if (collides(array, element.write)) race(array, index, place, writes, element.write, true);
    if (writes) {
        for (const Touch* reader : {&element.reader, &element.same_warp})
            if (collides(array, *reader)) race(array, index, place, true, *reader, false);
        element.write = now;
        return;
    }
    if (array.shared && element.write.interval < running.first_interval && !running.never_written.kind) {
        describe(NEVER_WRITTEN, &array, index, place);
        std::swap(running.never_written, *running.fault);
    }
    Touch& reader = element.reader;
    bool other_block = !array.shared && reader.interval > 0 && reader.interval < running.first_interval;
    if (other_block || (reader.interval == running.interval && !same_warp(reader))) return;  // kept
    if (reader.interval != running.interval || reader.warp_interval != running.warp_interval) {
        element.same_warp = Touch{};  // what this warp read before is ordered before all that it does from here on
        reader = now;
    } else if (reader.thread != running.thread) {
        element.same_warp = now;
    }
}

static inline Site& site_of(Array& array, Kind kind, unsigned bytes, Place place) {
    auto is = [&](const Site& site) {
        return site.counts.line == place.line && site.counts.kind == kind && site.bytes == bytes && site.file == place.file;
    };
    if (array.recent < array.sites.size() && is(array.sites[array.recent])) return array.sites[array.recent];
    for (array.recent = 0; array.recent < array.sites.size(); ++array.recent)
        if (is(array.sites[array.recent])) return array.sites[array.recent];
    Site site;
    site.file = place.file;
    site.bytes = bytes;
    site.counts.line = place.line;
    site.counts.kind = kind;
    text(site.counts.file, sizeof site.counts.file, place.file);
    text(site.counts.array, sizeof site.counts.array, array.name.c_str());
    array.sites.push_back(site);
    return array.sites.back();
}

// Checks and notes one access of `bytes` bytes at element `index`; returns where they are.
static inline char* access(Array& array, bool writes, int64_t index, unsigned bytes, Place place) {
    int64_t wide = bytes / array.element;
    if (index < 0 || index + wide > static_cast<int64_t>(array.count)) {
        describe(OUT_OF_BOUNDS, &array, index < 0 ? index : index + wide - 1, place);
        stop();
    }
    uint64_t offset = static_cast<uint64_t>(index) * array.element;
    if (offset % bytes != 0) {
        std::string detail = std::to_string(bytes) + " bytes at byte " + std::to_string(offset);
        describe(MISALIGNED, &array, index, place, detail.c_str());
        stop();
    }
    if (!array.elements.empty())
        for (int64_t i = 0; i < wide; ++i) check_order(array, index + i, writes, place);
    Kind kind = array.shared ? (writes ? SHARED_STORE : SHARED_LOAD) : (writes ? GLOBAL_STORE : GLOBAL_LOAD);
    Site& site = site_of(array, kind, bytes, place);
    unsigned instruction = site.executed[running.lane]++;
    if (instruction == site.lanes.size()) {
        site.lanes.push_back(0);
        site.offsets.resize(site.offsets.size() + LANES);
    }
    site.lanes[instruction] |= 1u << running.lane;
    site.offsets[instruction * LANES + running.lane] = offset;
    return array.data + offset;
}

// How many different values `offsets[lane] / unit` has over `lanes`.
static inline unsigned distinct(const uint64_t* offsets, uint32_t lanes, unsigned unit) {
    uint64_t seen[LANES];
    unsigned count = 0;
    for (unsigned lane = 0; lane < LANES; ++lane) {
        if (!(lanes >> lane & 1)) continue;
        uint64_t value = offsets[lane] / unit;
        unsigned i = count;
        while (i > 0 && seen[i - 1] != value) --i;
        if (i == 0) seen[count++] = value;
    }
    return count;
}

// Wavefronts that shared memory needs for one group of lanes: as many as the busiest bank has different words to give.
static inline unsigned wavefronts(const uint64_t* offsets, uint32_t lanes, unsigned bytes) {
    uint64_t words[BANKS][LANES];
    unsigned count[BANKS] = {}, most = 0;
    for (unsigned lane = 0; lane < LANES; ++lane) {
        if (!(lanes >> lane & 1)) continue;
        for (uint64_t word = offsets[lane] / 4; word * 4 < offsets[lane] + bytes; ++word) {
            unsigned bank = word % BANKS, i = 0;
            while (i < count[bank] && words[bank][i] != word) ++i;
            if (i == count[bank]) words[bank][count[bank]++] = word;
            if (count[bank] > most) most = count[bank];
        }
    }
    return most;
}

static inline void account(Site& site, size_t instruction) {
    uint32_t lanes = site.lanes[instruction];
    const uint64_t* offsets = &site.offsets[instruction * LANES];
    SiteCounts& counts = site.counts;
    uint64_t transactions = 0, ideal = 0;
    if (counts.kind == GLOBAL_LOAD || counts.kind == GLOBAL_STORE) {
        transactions = distinct(offsets, lanes, SECTOR);
        ideal = (uint64_t{distinct(offsets, lanes, site.bytes)} * site.bytes + SECTOR - 1) / SECTOR;
    } else {
        // 128 bytes a turn: half a warp at a time for 8 bytes a lane, a quarter for 16.
        unsigned width = site.bytes <= 4 ? LANES : 128 / site.bytes;
        for (unsigned first = 0; first < LANES; first += width) {
            uint32_t group = lanes & (width == LANES ? ~0u : ((1u << width) - 1) << first);
            if (!group) continue;
            transactions += wavefronts(offsets, group, site.bytes);
            ideal += 1;
        }
    }
    counts.instructions += 1;
    counts.partial += lanes != running.live;
    counts.bytes += uint64_t{site.bytes} * static_cast<unsigned>(__builtin_popcount(lanes));
    counts.transactions += transactions;
    counts.ideal += ideal;
    if (transactions > counts.worst) counts.worst = transactions;
}

// Counts what the lanes of the running warp have noted, and forgets it.
static inline void account(Array& array) {
    for (Site& site : array.sites) {
        for (size_t instruction = 0; instruction < site.lanes.size(); ++instruction) account(site, instruction);
        site.lanes.clear();
        site.offsets.clear();
        memset(site.executed, 0, sizeof site.executed);
    }
}

}  // namespace emulation
