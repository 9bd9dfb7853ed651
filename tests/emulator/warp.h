// Barriers and warp collectives. The defaulted last arguments are evaluated where the kernel calls, so they name its
// lines.
#pragma once

constexpr int warpSize = 32;

#define KST_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(KST_HERE) { kst::barrier({"__syncthreads", file, line}); }
inline void __syncwarp(unsigned int mask = 0xffffffffu, KST_HERE)
{
    kst::exchange({"__syncwarp", file, line}, mask, nullptr, 0);
}

namespace kst
{

inline unsigned lane() { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % warpSize; }

template <class T>
struct Payload {
    static constexpr unsigned count = (sizeof(T) + sizeof(Word) - 1) / sizeof(Word);
    static_assert(count <= max_payload_words, "too large for one exchange between lanes");
    Word words[count] = {};
    explicit Payload(const T& value) { __builtin_memcpy(words, &value, sizeof value); }
};

// The value of lane `source`, or poison: CUDA leaves the value of a lane that takes no part undefined.
template <class T>
inline T value_of(const Lanes& lanes, unsigned mask, unsigned source)
{
    T value;
    if ((mask & lanes.present) >> source & 1) {
        __builtin_memcpy(&value, lanes.words[source], sizeof value);
    } else {
        Word poison = 0x0001000100010001ull * shared_poison;
        for (unsigned i = 0; i < sizeof value; i += 4)
            __builtin_memcpy(reinterpret_cast<char*>(&value) + i, &poison, 4);
    }
    return value;
}

// Every lane of the mask gives `mine` and gets all of them: what a warp-wide matrix instruction is emulated with.
template <class T>
inline void gather(unsigned mask, const T& mine, T (&all)[32], KST_HERE)
{
    static_assert(sizeof(T) % 4 == 0);
    const Payload<T> payload(mine);
    const Lanes& lanes = exchange({"kst::gather", file, line}, mask, payload.words, payload.count);
    for (unsigned i = 0; i < 32; i++)
        all[i] = value_of<T>(lanes, mask, i);
}

enum class Move { index, up, down, exclusive };

template <class T>
inline T shuffle(Site site, Move move, unsigned mask, T mine, int by, int width)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles take 4 or 8 bytes");
    if (width < 1 || width > warpSize || (width & (width - 1)))
        fail("%s at %s:%d: width %d is not a power of two up to 32", site.what, site.file, site.line, width);
    const Payload<T> payload(mine);
    const Lanes& lanes = exchange(site, mask, payload.words, payload.count);
    const int me = static_cast<int>(lane()), first = me & ~(width - 1), last = first + width - 1;
    int source = me;
    if (move == Move::index)
        source = first + (by & (width - 1));
    if (move == Move::up && by <= me - first)
        source = me - by;
    if (move == Move::down && by <= last - me)
        source = me + by;
    if (move == Move::exclusive && (me ^ by) <= last)
        source = me ^ by;
    return value_of<T>(lanes, mask, static_cast<unsigned>(source));
}

inline unsigned vote(Site site, unsigned mask, bool mine)
{
    const Payload<unsigned> payload(mine);
    const Lanes& lanes = exchange(site, mask, payload.words, payload.count);
    unsigned votes = 0;
    for (unsigned i = 0; i < 32; i++)
        if ((mask & lanes.present) >> i & 1)
            votes |= static_cast<unsigned>(lanes.words[i][0]) << i;
    return votes;
}

}  // namespace kst

template <class T>
inline T __shfl_sync(unsigned int mask, T value, int source, int width = 32, KST_HERE)
{
    return kst::shuffle({"__shfl_sync", file, line}, kst::Move::index, mask, value, source, width);
}
template <class T>
inline T __shfl_up_sync(unsigned int mask, T value, unsigned int delta, int width = 32, KST_HERE)
{
    return kst::shuffle(
        {"__shfl_up_sync", file, line}, kst::Move::up, mask, value, static_cast<int>(min(delta, 32u)), width);
}
template <class T>
inline T __shfl_down_sync(unsigned int mask, T value, unsigned int delta, int width = 32, KST_HERE)
{
    return kst::shuffle(
        {"__shfl_down_sync", file, line}, kst::Move::down, mask, value, static_cast<int>(min(delta, 32u)), width);
}
template <class T>
inline T __shfl_xor_sync(unsigned int mask, T value, int with, int width = 32, KST_HERE)
{
    return kst::shuffle({"__shfl_xor_sync", file, line}, kst::Move::exclusive, mask, value, with & 31, width);
}
inline unsigned int __ballot_sync(unsigned int mask, int predicate, KST_HERE)
{
    return kst::vote({"__ballot_sync", file, line}, mask, predicate != 0);
}
inline int __any_sync(unsigned int mask, int predicate, KST_HERE)
{
    return kst::vote({"__any_sync", file, line}, mask, predicate != 0) != 0;
}
inline int __all_sync(unsigned int mask, int predicate, KST_HERE)
{
    return kst::vote({"__all_sync", file, line}, mask, predicate == 0) == 0;
}

#undef KST_HERE
