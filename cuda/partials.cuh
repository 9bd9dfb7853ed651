// Adds the parts into which the depth of a product was split, in their order.
//
//   to[i] = bias[channel of i] + sum over s of partials[s][i]
//
// Launch: a thread per element of `to`, where `first_w` is the parts, `first_h` the channels of a sample, and `first_d`
// 1 if they are behind its positions, which `grid` counts.
#pragma once
#include "numeric.cuh"

// As a multiply-add by one, which keeps subnormal floats under -ftz=true.
__device__ __forceinline__ float add(float a, float b) { return multiply_add(a, 1.0f, b); }
__device__ __forceinline__ double add(double a, double b) { return multiply_add(a, 1.0, b); }
template <class Real>
__device__ __forceinline__ Complex<Real> add(Complex<Real> a, Complex<Real> b)
{
    return {add(a.re, b.re), add(a.im, b.im)};
}

extern "C" __global__ void PER_POSITION add_partials(
    const Compute* __restrict__ partials, const Storage* __restrict__ bias, Storage* __restrict__ to, const Params p)
{
    const Index positions = p.grid_d * p.grid_h * p.grid_w;
    const long long at = (long long)blockIdx.x * THREADS + (int)threadIdx.x;
    const long long size = (long long)p.samples * p.first_h * positions;
    if (at >= size)
        return;
    Compute sum = bias ? load(bias + (p.first_d ? at : at / positions) % p.first_h) : Compute{};
    for (Index split = 0; split < p.first_w; split++)
        sum = add(partials[split * size + at], sum);
    store(to + at, sum);
}
