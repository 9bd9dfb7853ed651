// The inner loop of all methods: what one tap adds to an output, over the channels.
#pragma once
#include "long_sum.cuh"

// Add to `sum` that over `channels` of x[c * step] * weight[c * filter], for pointers to the tap and to what it meets
// on the first channel.
__device__ __forceinline__ void add_tap(
    LongSum& sum, const Storage* __restrict__ x, Index step, const Storage* __restrict__ weight, Index filter,
    Index channels)
{
    sum.add_terms(channels, [&](Index c, Compute chain) {
        return multiply_add(load(x + c * step), load(weight + c * filter), chain);
    });
}
