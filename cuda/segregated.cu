// Kernel segregation (arXiv 2209.03704): one launch per residue class over ceil(out / stride) positions an axis, so
// that all threads of a launch use one sub-kernel. Where the output is no multiple of the stride, some positions fall
// outside it.
//
//   y[n, c, o] = bias[c] + sum over c', k of x[n, c', i] * weight[c', c, k]   where o = i*stride + k*dilation - lo,
//   for the outputs o = first + q*stride of one class
//
// Macros: those of common.cuh.
// x       [samples, in_channels, in_d, in_h, in_w]
// weight  [in_channels, out_channels / groups, KD, KH, KW]
// bias    [out_channels], or null
// y       [samples, out_channels, out_d, out_h, out_w]
// Launch: for each class, grid.x = ceil(samples * out_channels * positions / THREADS).
#include "gather.cuh"

extern "C" __global__ void PER_POSITION segregated(
    const Storage* __restrict__ x, const Storage* __restrict__ weight, const Storage* __restrict__ bias,
    Storage* __restrict__ y, const Params p)
{
    const Place at = locate(p, p.out_channels);
    if (!at.inside)
        return;
    const Index d = p.first_d + at.d * SD, h = p.first_h + at.h * SH, w = p.first_w + at.w * SW;
    if (d < p.out_d && h < p.out_h && w < p.out_w)
        gather_output(p, x, weight, bias, y, at, d, h, w);
}
