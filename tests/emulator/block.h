// Runs one block: its warps one after another up to a barrier or the end, the lanes of a warp up to a collective.
#pragma once
#include <algorithm>
#include <memory>
#include <numeric>
#include "memory.h"
#include "threads.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace kst
{

// The threads of a block. Under TSan, consecutive blocks use different teams, whose threads nothing orders.
struct Team {
    std::vector<std::unique_ptr<Thread>> threads;
    std::vector<Warp> warps;
    // Two of each: a thread that has reached the next barrier, or its end, must not seem to precede those that have yet
    // to leave this barrier, or to begin.
    Order barrier[2], finished[2];
    unsigned phase = 0, blocks = 0;
    Block shared{};
};

inline Fiber scheduler;
inline Thread* current = nullptr;
inline Team* team = nullptr;
inline Order launched, fences, shared_made;
inline size_t shared_limit = 0;
inline const char* shared_limit_name = "";
inline void* const* arguments = nullptr;

inline void entry()
{
    arrive(current->identity, scheduler.identity);
    for (;;) {
        launched.acquire();
        team->finished[(team->blocks + 1) & 1].acquire();
        kst_kernel.call(arguments);
        team->finished[team->blocks & 1].release();
        current->state = State::exited;
        transfer(*current, scheduler);
    }
}

inline void wait_as(State state, Site site)
{
    Thread& me = *current;
    me.state = state;
    me.site = site;
    transfer(me, scheduler);
}

inline std::vector<const Thread*> members(size_t first, size_t count)
{
    std::vector<const Thread*> all;
    for (size_t i = first; i < first + count; i++)
        all.push_back(team->threads[i].get());
    return all;
}

[[noreturn]] inline void fail_at(const Thread& me, const Thread& missing, size_t first, size_t count)
{
    std::string why = doing(missing);
    if (missing.state == State::collective && same(missing.site, me.site)) {
        char masks[80];
        snprintf(masks, sizeof masks, "there with mask 0x%08x, not 0x%08x", missing.mask, me.mask);
        why = masks;
    }
    fail(
        "missing lane: lane %u of block %s does not take part in %s, which lane %u waits in; it is %s; the warp: %s",
        missing.number % 32, text(blockIdx).c_str(), text(me.site).c_str(), me.number % 32, why.c_str(),
        census(members(first, count)).c_str());
}

// Lets go every group of lanes that is complete; returns whether any lane may go on.
inline bool resolve(size_t first, size_t count)
{
    bool any = false;
    Thread* stuck = nullptr;
    const Thread* missing = nullptr;
    for (size_t i = first; i < first + count; i++) {
        Thread& me = *team->threads[i];
        if (me.state != State::collective)
            continue;
        const Thread* absent = nullptr;
        for (size_t j = 0; j < count && !absent; j++) {
            const Thread& other = *team->threads[first + j];
            if (me.mask >> j & 1 &&
                !(other.state == State::collective && other.mask == me.mask && same(other.site, me.site)))
                absent = &other;
        }
        if (absent) {
            if (!stuck)
                stuck = &me, missing = absent;
            continue;
        }
        Warp& warp = team->warps[first / 32];
        warp.lanes.present = count == 32 ? ~0u : (1u << count) - 1;
        const unsigned mask = me.mask & warp.lanes.present;
        warp.joining[__builtin_ctz(mask)] = true;
        for (size_t j = 0; j < count; j++)
            if (mask >> j & 1) {
                Thread& lane = *team->threads[first + j];
                warp.lanes.words[j] = lane.words[lane.turn & 1];
                warp.given[j] = &lane.given[lane.turn & 1];
                lane.state = State::ready;
            }
        any = true;
    }
    if (stuck && !any)
        fail_at(*stuck, *missing, first, count);
    return any;
}

inline void run_warp(size_t first, size_t count, const std::vector<unsigned>& order)
{
    do {
        for (unsigned lane : order) {
            if (lane >= count)
                continue;
            Thread& thread = *team->threads[first + lane];
            if (thread.state != State::ready)
                continue;
            current = &thread;
            threadIdx = thread.index;
            transfer(scheduler, thread);
        }
        current = nullptr;
    } while (resolve(first, count));
}

// Returns false when all have exited.
inline bool pass_barrier(size_t count)
{
    const Thread& first = *team->threads[0];
    for (size_t i = 0; i < count; i++) {
        const Thread& thread = *team->threads[i];
        if (thread.state != first.state || (thread.state == State::barrier && !same(thread.site, first.site)))
            fail("divergent barrier in block %s: %s", text(blockIdx).c_str(), census(members(0, count)).c_str());
    }
    if (first.state == State::exited)
        return false;
    for (size_t i = 0; i < count; i++)
        team->threads[i]->state = State::ready;
    team->phase++;
    return true;
}

inline void run_block(size_t count, const std::vector<unsigned>& warps, const std::vector<unsigned>& lanes)
{
    for (size_t i = 0; i < count; i++) {
        Thread& thread = *team->threads[i];
        thread.state = State::ready;
        thread.copies.clear();
        thread.groups.clear();
        thread.copied = 0;
    }
    if (team->shared.data)
        poison(team->shared);
    do {
        for (unsigned warp : warps)
            run_warp(warp * 32ul, std::min<size_t>(32, count - warp * 32ul), lanes);
    } while (pass_barrier(count));
    team->blocks++;
    if (team->shared.data)
        check_guards(team->shared, "the shared memory of block " + text(blockIdx));
}

}  // namespace kst
