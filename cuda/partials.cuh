// Adds the parts into which the depth of a product was split, in their order.
//
//   to[i] = bias[channel of i] + sum over s of partials[s][i]
//
// Launch: a thread per element of `to`, where `first_w` is the parts, `first_h` the channels of a sample, and `first_d`
// 1 if they are behind its positions, which `grid` counts.
#pragma once
#include "long_sum.cuh"

extern "C" __global__ void PER_POSITION add_partials(
    const Compute* __restrict__ partials, const Storage* __restrict__ bias, Storage* __restrict__ to, const Params p)
{
    const Index positions = p.grid_d * p.grid_h * p.grid_w;
    const long long at = (long long)blockIdx.x * THREADS + (int)threadIdx.x;
    const long long size = (long long)p.samples * p.first_h * positions;
    if (at >= size)
        return;
    LongSum sum(bias ? load(bias + (p.first_d ? at : at / positions) % p.first_h) : Compute{});
    sum.add_terms(p.first_w, [&](Index split, Compute chain) { return add(partials[split * size + at], chain); });
    store(to + at, sum.value());
}
