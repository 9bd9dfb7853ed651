// Adds to a sanitizer's report which thread of which block, and which argument, it is about.
#pragma once
#include "calls.h"

namespace kst
{

inline std::vector<Block> arrays;

// The nearest block of memory that the kernel was given.
inline void tell_memory(const void* address)
{
    const char* at = static_cast<const char*>(address);
    std::string nearest;
    size_t least = 1 << 20;
    const auto look = [&](const Block& block, const std::string& name) {
        if (!block.data)
            return;
        const char* end = block.data + block.bytes;
        const size_t away = at < block.data ? block.data - at : at >= end ? at - end : 0;
        if (away >= least)
            return;
        least = away;
        nearest = at < block.data ? std::to_string(away) + " bytes before "
                  : at >= end     ? std::to_string(away) + " bytes past the end of "
                                  : "byte " + std::to_string(at - block.data) + " of ";
        nearest += name + " (" + std::to_string(block.bytes) + " bytes)";
    };
    for (size_t i = 0; i < arrays.size(); i++)
        look(arrays[i], "argument " + std::to_string(i));
    if (team)
        look(team->shared, "shared memory");
    if (!nearest.empty())
        fprintf(stderr, "memory: %s\n", nearest.c_str());
}

}  // namespace kst

extern "C" {
#if defined KST_ASAN
void __asan_on_error()
{
    kst::tell_thread();
    kst::tell_memory(__asan_get_report_address());
}
void __ubsan_on_report() { kst::tell_thread(); }
#elif defined KST_TSAN
int __tsan_get_report_mop(
    void* report, unsigned long index, int* thread, void** address, int* size, int* write, int* atomic, void** trace,
    unsigned long trace_size);
void __tsan_on_report(void* report)
{
    int thread = 0, size = 0, write = 0, atomic = 0;
    void *address = nullptr, *trace[1];
    kst::tell_thread();
    if (__tsan_get_report_mop(report, 0, &thread, &address, &size, &write, &atomic, trace, 1))
        kst::tell_memory(address);
}
#endif
}
