// What a kernel calls in the host: barriers, collectives, fences, shared memory, asynchronous copies, failure.
#pragma once
#include "block.h"

namespace kst
{

inline void tell_thread()
{
    if (current)
        fprintf(stderr, "in block %s, thread %s\n", text(blockIdx).c_str(), text(threadIdx).c_str());
}

void fail(const char* format, ...)
{
    va_list values;
    va_start(values, format);
    fputs("kst: ", stderr);
    vfprintf(stderr, format, values);
    va_end(values);
    fputs("\n", stderr);
    tell_thread();
    fflush(stderr);
    _exit(3);
}

void barrier(Site site)
{
    Order& order = team->barrier[team->phase & 1];
    order.release();
    wait_as(State::barrier, site);
    order.acquire();
}

const Lanes& exchange(Site site, unsigned mask, const Word* words, unsigned count)
{
    Thread& me = *current;
    if (!(mask >> me.number % 32 & 1))
        fail("mask 0x%08x of %s does not name the calling lane %u", mask, text(site).c_str(), me.number % 32);
    me.mask = mask;
    me.turn++;
    for (unsigned i = 0; i < count; i++)
        me.words[me.turn & 1][i] = words[i];
    me.given[me.turn & 1].release();
    wait_as(State::collective, site);
    Warp& warp = team->warps[me.number / 32];
    mask &= warp.lanes.present;
    const int lowest = __builtin_ctz(mask);
    if (warp.joining[lowest]) {
        for (unsigned i = 0; i < 32; i++)
            if (mask >> i & 1)
                warp.given[i]->acquire();
        warp.joined[lowest].release();
        warp.joining[lowest] = false;
    }
    warp.joined[lowest].acquire();
    return warp.lanes;
}

void fence()
{
    fences.release();
    fences.acquire();
}

void* shared(Size bytes, Size alignment, const char* name)
{
    if (bytes > shared_limit)
        fail(
            "too much shared memory: %s takes %llu bytes, more than the %zu bytes of %s", name, Word{bytes},
            shared_limit, shared_limit_name);
    if (!team->shared.data) {
        // The scheduler allocates, or TSan would take the allocation for a write that races with the other threads.
        pose_as(scheduler.identity);
        team->shared = allocate(bytes, 2 * alignment, alignment);
        poison(team->shared);
        shared_made.release();
        pose_as(current->identity);
    }
    shared_made.acquire();
    if (team->shared.bytes != bytes)
        fail(
            "a kernel has one KST_SHARED struct: %s takes %llu bytes, another %zu", name, Word{bytes},
            team->shared.bytes);
    return team->shared.data;
}

void copy_later(const Copy& copy) { current->copies.push_back(copy); }

void commit_copies() { current->groups.push_back(current->copies.size()); }

bool next_copy(unsigned pending, bool all, Copy& copy)
{
    Thread& me = *current;
    size_t end = 0;
    if (me.groups.size() > pending)
        end = me.groups[me.groups.size() - 1 - pending];
    if (all)
        end = me.copies.size();
    if (me.copied >= end)
        return false;
    copy = me.copies[me.copied++];
    return true;
}

// The multiply-adds of a launch, and those of them in which neither factor was zero.
struct Products {
    Word all, without_zeros;
};
inline Products products;

template <class Real>
inline Real counted(Real x, Real y, Real sum)
{
    products.all++;
    products.without_zeros += (x != 0) & (y != 0);
    return sum;
}
float multiply_add(float x, float y, float z) { return counted(x, y, __builtin_fmaf(x, y, z)); }
double multiply_add(double x, double y, double z) { return counted(x, y, __builtin_fma(x, y, z)); }

}  // namespace kst
