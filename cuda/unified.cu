// Unified kernel segregation (arXiv 2502.20493): one launch, one thread per output element, which finds its residue
// class from its own index, so that no table of sub-kernel sizes is kept and no element outside the output computed.
//
//   large[n, c, o] = bias[c] + sum over c', k of small[n, c', i] * weight[c', c, k]
//   where o = i*stride + k*dilation - lo
//
// Macros: those of common.cuh. Maps are shown with their channels first.
// small   [samples, small_channels, small_d, small_h, small_w]
// weight  [small_channels, large_channels / groups, KD, KH, KW]
// bias    [large_channels], or null
// large   [samples, large_channels, large_d, large_h, large_w]
// Launch: a thread per element of large:
// grid.x = ceil(samples * large_channels * large_d * large_h * large_w / THREADS).
#include "gather.cuh"

extern "C" __global__ void PER_POSITION unified(
    const Storage* __restrict__ small, const Storage* __restrict__ weight, const Storage* __restrict__ bias,
    Storage* __restrict__ large, const Params p)
{
    const Place at = locate(p, p.large_channels);
    if (at.inside)
        gather_output(p, small, weight, bias, large, at, at.d, at.h, at.w);
}
