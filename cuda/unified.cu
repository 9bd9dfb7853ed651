// Unified kernel segregation (arXiv 2502.20493): one launch, one thread per output element, which finds its residue
// class from its own index, so that no table of sub-kernel sizes is kept and no element outside the output computed.
//
//   y[n, c, o] = bias[c] + sum over c', k of x[n, c', i] * weight[c', c, k]   where o = i*stride + k*dilation - lo
//
// Macros: those of common.cuh. Maps are shown with their channels first.
// x       [samples, small_channels, small_d, small_h, small_w]
// weight  [small_channels, large_channels / groups, KD, KH, KW]
// bias    [large_channels], or null
// y       [samples, large_channels, large_d, large_h, large_w]
// Launch: a thread per element of y, grid.x = ceil(samples * large_channels * large_d * large_h * large_w / THREADS).
#include "gather.cuh"

extern "C" __global__ void PER_POSITION unified(
    const Storage* __restrict__ x, const Storage* __restrict__ weight, const Storage* __restrict__ bias,
    Storage* __restrict__ y, const Params p)
{
    const Place at = locate(p, p.large_channels);
    if (at.inside)
        gather_output(p, x, weight, bias, y, at, at.d, at.h, at.w);
}
