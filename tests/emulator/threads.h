// The threads of a block and what each is doing, and how failures name them.
#pragma once
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>
#include "abi.h"

namespace kst
{
[[noreturn]] void fail(const char* format, ...);
}
#include "fibers.h"

namespace kst
{

enum class State { ready, barrier, collective, exited };

struct Thread : Fiber {
    State state = State::exited;
    uint3 index{};
    unsigned number = 0;
    Site site{};
    // Two of each: a lane may reach its next collective before the others have read what it gave to the last one.
    unsigned mask = 0, turn = 0;
    Word words[2][max_payload_words]{};
    Order given[2];
    std::vector<Copy> copies;
    std::vector<size_t> groups;  // the end, in `copies`, of each committed group
    size_t copied = 0;
};

// The collective that lanes of a warp have left last.
struct Warp {
    Lanes lanes{};
    Order* given[32]{};
    // By the lowest lane of a group. The first lane to go on acquires what all gave and releases it here for the
    // others: two calls of TSan's a lane in place of 32.
    Order joined[32];
    bool joining[32]{};
};

inline bool same(const Site& a, const Site& b)
{
    return a.line == b.line && !strcmp(a.what, b.what) && !strcmp(a.file, b.file);
}

inline std::string text(const uint3& index)
{
    return "(" + std::to_string(index.x) + "," + std::to_string(index.y) + "," + std::to_string(index.z) + ")";
}

inline std::string text(const Site& site)
{
    return std::string(site.what) + " at " + site.file + ":" + std::to_string(site.line);
}

inline std::string doing(const Thread& thread)
{
    if (thread.state == State::exited)
        return "exited";
    if (thread.state == State::ready)
        return "running";
    return "waiting in " + text(thread.site);
}

// "3 exited: (0,0,0) (1,0,0) (2,0,0); 29 waiting in __syncthreads at ...", for any threads.
inline std::string census(const std::vector<const Thread*>& threads)
{
    std::vector<std::pair<std::string, std::vector<const Thread*>>> parties;
    for (const Thread* thread : threads) {
        const std::string now = doing(*thread);
        size_t i = 0;
        while (i < parties.size() && parties[i].first != now)
            i++;
        if (i == parties.size())
            parties.push_back({now, {}});
        parties[i].second.push_back(thread);
    }
    std::string all;
    for (const auto& [now, members] : parties) {
        all += (all.empty() ? "" : "; ") + std::to_string(members.size()) + " " + now + ":";
        for (size_t i = 0; i < members.size() && i < 4; i++)
            all += " " + text(members[i]->index);
        if (members.size() > 4)
            all += " ...";
    }
    return all;
}

}  // namespace kst
