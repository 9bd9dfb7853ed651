// What the host tells ASan and TSan about fibers and memory; nothing in the plain build.
// The host itself is compiled without instrumentation, so that no access of the scheduler's can look like a kernel's.
#pragma once
#include <cstddef>

extern "C" {
#if defined KST_ASAN
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, size_t* size);
void __asan_poison_memory_region(const volatile void* start, size_t size);
void* __asan_get_report_address();
#elif defined KST_TSAN
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_set_fiber_name(void* fiber, const char* name);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
#endif
}

namespace kst
{

// The stack that a sanitizer should believe in, and TSan's identity of who runs on it.
struct Identity {
    const void* bottom = nullptr;
    size_t size = 0;
    void* fake_stack = nullptr;
    void* tsan = nullptr;
};

#if defined KST_ASAN
constexpr bool asan = true;
#else
constexpr bool asan = false;
#endif

[[maybe_unused]] constexpr unsigned without_ordering = 1;

inline void leave([[maybe_unused]] Identity& from, [[maybe_unused]] const Identity& to)
{
#if defined KST_ASAN
    __sanitizer_start_switch_fiber(&from.fake_stack, to.bottom, to.size);
#elif defined KST_TSAN
    __tsan_switch_to_fiber(to.tsan, without_ordering);
#endif
}

// `before` is who ran last: only here does ASan tell the bounds of the process's own stack.
inline void arrive([[maybe_unused]] Identity& me, [[maybe_unused]] Identity& before)
{
#if defined KST_ASAN
    __sanitizer_finish_switch_fiber(me.fake_stack, &before.bottom, &before.size);
#endif
}

// What follows is done on this stack, but TSan takes it for another's doing.
inline void pose_as([[maybe_unused]] const Identity& other)
{
#if defined KST_TSAN
    __tsan_switch_to_fiber(other.tsan, without_ordering);
#endif
}

// What TSan lets threads rely on: all that precedes a release has happened before all that follows a later acquire.
struct Order {
    char address = 0;
    void acquire()
    {
#if defined KST_TSAN
        __tsan_acquire(&address);
#endif
    }
    void release()
    {
#if defined KST_TSAN
        __tsan_release(&address);
#endif
    }
};

}  // namespace kst
