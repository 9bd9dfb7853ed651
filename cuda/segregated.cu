// Kernel segregation (arXiv 2209.03704): one launch per residue class over ceil(out / stride) positions an axis, so
// that all threads of a launch use one sub-kernel. Where the output is no multiple of the stride, some positions fall
// outside it.
//
//   large[n, c, o] = bias[c] + sum over c', k of small[n, c', i] * weight[c', c, k]
//   where o = i*stride + k*dilation - lo, for the outputs o = first + q*stride of one class
//
// Macros: those of common.cuh. Maps are shown with their channels first.
// small   [samples, small_channels, small_d, small_h, small_w]
// weight  [small_channels, large_channels / groups, KD, KH, KW]
// bias    [large_channels], or null
// large   [samples, large_channels, large_d, large_h, large_w]
// Launch: for each class, grid.x = ceil(samples * large_channels * positions / THREADS).
#include "gather.cuh"

extern "C" __global__ void PER_POSITION segregated(
    const Storage* __restrict__ small, const Storage* __restrict__ weight, const Storage* __restrict__ bias,
    Storage* __restrict__ large, const Params p)
{
    const Place at = locate(p, p.large_channels);
    if (!at.inside)
        return;
    const Index d = p.first_d + at.d * SD, h = p.first_h + at.h * SH, w = p.first_w + at.w * SW;
    if (d < p.large_d && h < p.large_h && w < p.large_w)
        gather_output(p, small, weight, bias, large, at, d, h, w);
}
