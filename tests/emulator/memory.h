// Blocks of memory that kernels see: exact in size, so that the first byte behind is already wrong.
#pragma once
#include <cstdlib>
#include <fcntl.h>
#include "threads.h"

namespace kst
{

// Read as NaN in every floating-point format; tests/emulator/poison.py knows it too.
constexpr unsigned short guard_poison = 0x7ff9;
// Under ASan its own redzones stand around a block, else these bytes.
constexpr size_t guard = asan ? 0 : 256;

// Forbidden addresses around a mapped file: as far as an index that was cut to 32 bits leads astray, for elements of 16
// bytes.
constexpr size_t mapped_guard = size_t{16} << 31;

struct Block {
    char* data;
    size_t bytes, before;
    bool mapped = false;
};

// A loop, and compiled as one: memset is intercepted by TSan, which would take it for an access that nothing orders.
inline void fill(char* to, size_t bytes, unsigned short pattern)
{
    const Word word = 0x0001000100010001ull * pattern;
    size_t i = 0;
    for (; i + sizeof word <= bytes; i += sizeof word)
        __builtin_memcpy(to + i, &word, sizeof word);
    for (; i < bytes; i++)
        to[i] = static_cast<char>(pattern >> i % 2 * 8);
}

// `bytes` bytes at `offset` behind a multiple of `alignment`.
inline Block allocate(size_t bytes, size_t alignment, size_t offset)
{
    alignment = std::max<size_t>(alignment, 16);
    const size_t before = (guard + alignment - 1) / alignment * alignment + offset;
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, before + bytes + guard))
        fail("no memory for %zu bytes", bytes);
    Block block{static_cast<char*>(memory) + before, bytes, before};
#if defined KST_ASAN
    // ASan gives a block of 0 bytes one that may be touched.
    __asan_poison_memory_region(memory, before + bytes ? before : 1);
#else
    fill(block.data - before, before, guard_poison);
    fill(block.data + bytes, guard, guard_poison);
#endif
    return block;
}

// A file's bytes in place, for arrays larger than memory. Only the pages around it are watched.
inline Block map_file(const char* path, size_t bytes, size_t offset, bool writable)
{
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), before = mapped_guard + offset % page;
    void* memory =
        mmap(nullptr, before + bytes + mapped_guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        fail("no addresses for the %zu bytes of %s", bytes, path);
    const int file = open(path, writable ? O_RDWR : O_RDONLY);
    const int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    char* start = static_cast<char*>(memory) + mapped_guard;
    if (file < 0 ||
        mmap(start, offset % page + bytes, access, MAP_SHARED | MAP_FIXED, file, offset - offset % page) == MAP_FAILED)
        fail("cannot map %zu bytes of %s", bytes, path);
    close(file);
    return {static_cast<char*>(memory) + before, bytes, before, true};
}

inline void release(const Block& block)
{
    if (block.mapped)
        munmap(block.data - block.before, block.before + block.bytes + mapped_guard);
    else
        free(block.data - block.before);
}

inline void poison(const Block& block) { fill(block.data, block.bytes, shared_poison); }

// The guards catch writes only, and only after the fact; ASan catches reads as well, where they happen.
inline void check_guards(const Block& block, const std::string& name)
{
    if (asan)
        return;
    const auto touched = [](const char* start, size_t bytes) {
        size_t i = 0;
        while (i < bytes && start[i] == static_cast<char>(guard_poison >> i % 2 * 8))
            i++;
        return i;
    };
    const size_t behind = touched(block.data + block.bytes, guard),
                 ahead = touched(block.data - block.before, block.before);
    if (behind < guard)
        fail("out-of-bounds write %zu bytes past the end of %s (%zu bytes)", behind, name.c_str(), block.bytes);
    if (ahead < block.before)
        fail("out-of-bounds write %zu bytes before %s", block.before - ahead, name.c_str());
}

}  // namespace kst
