// Fibers: one stack per CUDA thread, switched by the one thread of the process.
#pragma once
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include "sanitizers.h"

namespace kst
{

constexpr size_t stack_bytes = 256 << 10;

struct Fiber {
    void* jump[5];
    ucontext_t context;
    bool started = false;
    Identity identity;
};

#if defined __x86_64__
[[gnu::noinline, noreturn]] inline void leap(void** jump) { __builtin_longjmp(jump, 1); }
#endif

// swapcontext makes two system calls a switch, so it is only used where the compiler's own jump is not known to cross
// stacks; libc's longjmp would do as well, but the sanitizers intercept it.
[[gnu::noinline]] inline void transfer(Fiber& from, Fiber& to)
{
    leave(from.identity, to.identity);
#if defined __x86_64__
    if (!__builtin_setjmp(from.jump)) {
        if (to.started)
            leap(to.jump);
        to.started = true;
        setcontext(&to.context);
    }
#else
    swapcontext(&from.context, &to.context);
#endif
    arrive(from.identity, to.identity);
}

// Pages are touched on first use only; the lowest page of each stack stays forbidden, so an overflow is a fault.
inline void prepare(Fiber& fiber, void (*entry)(), unsigned number)
{
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), total = stack_bytes + page;
    void* memory =
        mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE))
        fail("no memory for the stack of thread %u", number);
    char* bottom = static_cast<char*>(memory) + page;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = bottom;
    // Stacks that all began at the same place in a page would compete for the same lines of the cache.
    fiber.context.uc_stack.ss_size = stack_bytes - number % 32 * 128;
    makecontext(&fiber.context, entry, 0);
    fiber.identity.bottom = bottom;
    fiber.identity.size = stack_bytes;
#if defined KST_TSAN
    fiber.identity.tsan = __tsan_create_fiber(0);
    __tsan_set_fiber_name(fiber.identity.tsan, ("thread " + std::to_string(number)).c_str());
#endif
}

}  // namespace kst
