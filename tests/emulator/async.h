// cp.async: a copy happens when its group is waited for, and its target is poison until then.
// The copying is done in the kernel's own translation unit, where the sanitizers see it.
#pragma once

namespace kst
{

inline void cp_async(void* to, const void* from, unsigned bytes, unsigned from_bytes)
{
    if (bytes != 4 && bytes != 8 && bytes != 16)
        fail("cp.async of %u bytes: 4, 8 or 16 are possible", bytes);
    if (from_bytes > bytes)
        fail("cp.async of %u bytes takes %u bytes from its source", bytes, from_bytes);
    if (reinterpret_cast<Size>(to) % bytes)
        fail("cp.async of %u bytes: misaligned target", bytes);
    if (from_bytes && reinterpret_cast<Size>(from) % bytes)
        fail("cp.async of %u bytes: misaligned source", bytes);
    for (unsigned i = 0; i < bytes / sizeof shared_poison; i++)
        __builtin_memcpy(static_cast<char*>(to) + i * sizeof shared_poison, &shared_poison, sizeof shared_poison);
    copy_later({to, from, bytes, from_bytes});
}

inline void cp_async(void* to, const void* from, unsigned bytes) { cp_async(to, from, bytes, bytes); }

inline void cp_async_commit() { commit_copies(); }

inline void finish_copies(unsigned pending, bool all)
{
    for (Copy copy; next_copy(pending, all, copy);) {
        __builtin_memcpy(copy.to, copy.from, copy.from_bytes);
        __builtin_memset(static_cast<char*>(copy.to) + copy.from_bytes, 0, copy.bytes - copy.from_bytes);
    }
}

inline void cp_async_wait(unsigned pending) { finish_copies(pending, false); }
inline void cp_async_wait_all() { finish_copies(0, true); }

}  // namespace kst
