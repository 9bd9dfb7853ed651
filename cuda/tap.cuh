// The inner loop of all methods: what one tap adds to an output, over the channels.
#pragma once
#include "numeric.cuh"

// sum over `channels` of x[c * step] * weight[c * filter], for pointers to the tap and to what it meets on the first
// channel.
__device__ __forceinline__ Compute add_tap(
    const Storage* __restrict__ x, Index step, const Storage* __restrict__ weight, Index filter, Index channels,
    Compute sum)
{
#pragma unroll 4
    for (Index c = 0; c < channels; c++)
        sum = multiply_add(load(x + c * step), load(weight + c * filter), sum);
    return sum;
}
