// Split deconvolution (arXiv 1907.01773): the filter is expanded by zeros to T = ceil(K / stride) times the stride, and
// split into equal sub-filters of T taps, as many as the product of the strides. One ordinary convolution of stride 1
// by all of them makes channels that only have to be interleaved and cropped. Dilation is 1.
//
//   filters[c', c, r, j] = weight[c', c, k] where k = r + (T - 1 - j)*stride - t, or 0 where k is off the filter
//   parts[n, c, r, q - q0] = bias[c] + sum over c', j of small[n, c', q - (T - 1) + j] * filters[c', c, r, j]
//   large[n, c, o] = parts[n, c, r, q - q0] where q*stride + r = o + lo + t and 0 <= r < stride
//
// with t = min((-lo) mod stride, T*stride - K) of the zeros in front and q0 = (lo + t) / stride, on each axis. The
// paper has all zeros in front, which leaves more to crop.
//
// Macros: those of common.cuh. Maps are shown with their channels first. SUB_FILTERS is the number of sub-filters r.
// small    [samples, small_channels, small_d, small_h, small_w]
// weight   [small_channels, large_channels / groups, KD, KH, KW]
// filters  [small_channels, large_channels / groups, SD, SH, SW, TD, TH, TW]
// bias     [large_channels], or null
// parts    [samples, large_channels, SD, SH, SW, positions of each axis]
// large    [samples, large_channels, large_d, large_h, large_w]
// Launch: split_filter with a thread per element of filters, where input channels are the samples and `first` is t;
// convolve_parts with one per element of parts, `first` the input q0 - (T - 1); interleave with one per element of
// large, `first` the (lo + t) mod stride elements that are cropped in front.
#include "padding.cuh"
#include "tap.cuh"

#define SUB_FILTERS (SD * SH * SW)

// T of one axis.
__device__ __forceinline__ Index sub_taps(Index taps, Index stride) { return (taps + stride - 1) / stride; }

// The filter element that tap `j` of a sub-filter is along one axis; off the filter for an expansion zero.
__device__ __forceinline__ Index element(Index residue, Index j, Index taps, Index stride, Index zeros)
{
    return residue + (sub_taps(taps, stride) - 1 - j) * stride - zeros;
}

extern "C" __global__ void PER_POSITION
split_filter(const Storage* __restrict__ weight, Storage* __restrict__ filters, const Params p)
{
    const Index channels = p.group_large * SUB_FILTERS;
    const Place at = locate(p, channels);
    if (!at.inside)
        return;
    const Index channel = at.channel / SUB_FILTERS, r = at.channel % SUB_FILTERS;
    const Index kd = element(r / (SH * SW), at.d, KD, SD, p.first_d);
    const Index kh = element(r / SW % SH, at.h, KH, SH, p.first_h);
    const Index kw = element(r % SW, at.w, KW, SW, p.first_w);
    weight += plane_offset(at.sample, p.group_large, channel, KD * KH * KW);
    filters += plane_offset(at.sample, channels, at.channel, p.grid_d * p.grid_h * p.grid_w);
    const bool real = kd >= 0 && kd < KD && kh >= 0 && kh < KH && kw >= 0 && kw < KW;
    filters[(at.d * p.grid_h + at.h) * p.grid_w + at.w] = real ? weight[(kd * KH + kh) * KW + kw] : Storage();
}

extern "C" __global__ void PER_POSITION convolve_parts(
    const Storage* __restrict__ small, const Storage* __restrict__ filters, const Storage* __restrict__ bias,
    Storage* __restrict__ parts, const Params p)
{
    const Index of_group = p.group_large * SUB_FILTERS;
    const Place at = locate(p, p.large_channels * SUB_FILTERS);
    if (!at.inside)
        return;
    const Index td = sub_taps(KD, SD), th = sub_taps(KH, SH), tw = sub_taps(KW, SW);
    const Index plane = p.small_d * p.small_h * p.small_w, filter = of_group * td * th * tw;
    const Index step = channel_step(plane), pixel = pixel_step(p.small_channels);
    const Index group = at.channel / of_group, channel = at.channel % of_group;
    small += map_offset(at.sample, p.small_channels, group * p.group_small, plane);
    filters += plane_offset(group * p.group_small, of_group, channel, td * th * tw);
    parts += map_offset(at.sample, p.large_channels * SUB_FILTERS, at.channel, p.grid_d * p.grid_h * p.grid_w);
    LongSum sum(bias ? load(bias + at.channel / SUB_FILTERS) : Compute());
    for (Index jd = 0; jd < td; jd++)
        for (Index jh = 0; jh < th; jh++)
            for (Index jw = 0; jw < tw; jw++) {
                const Index d = p.first_d + at.d + jd, h = p.first_h + at.h + jh, w = p.first_w + at.w + jw;
                const bool on_map = d >= 0 && d < p.small_d && h >= 0 && h < p.small_h && w >= 0 && w < p.small_w;
                const Storage* from = on_map ? small + ((d * p.small_h + h) * p.small_w + w) * pixel : &padding;
                const Index tap = (jd * th + jh) * tw + jw;
                add_tap(sum, from, on_map ? step : 0, filters + tap, filter, p.group_small);
            }
    const Index to = (at.d * p.grid_h + at.h) * p.grid_w + at.w;
    store(parts + to * pixel_step(p.large_channels * SUB_FILTERS), sum.value());
}

// Positions that outputs are made of along one axis.
__device__ __forceinline__ Index positions(Index cropped, Index outputs, Index stride)
{
    return (cropped + outputs - 1) / stride + 1;
}

// Neighbouring threads write neighbouring outputs; of the parts, every stride-th of them reads a neighbour.
extern "C" __global__ void PER_POSITION
interleave(const Storage* __restrict__ parts, Storage* __restrict__ large, const Params p)
{
    const Place at = locate(p, p.large_channels);
    if (!at.inside)
        return;
    const Index height = positions(p.first_h, p.large_h, SH), width = positions(p.first_w, p.large_w, SW);
    const Index part = positions(p.first_d, p.large_d, SD) * height * width;
    const Index d = p.first_d + at.d, h = p.first_h + at.h, w = p.first_w + at.w;
    const Index r = (d % SD * SH + h % SH) * SW + w % SW;
    const Index parts_of_all = p.large_channels * SUB_FILTERS;
    parts += map_offset(at.sample, parts_of_all, at.channel * SUB_FILTERS + r, part);
    large += map_offset(at.sample, p.large_channels, at.channel, p.large_d * p.large_h * p.large_w);
    const Index from = (d / SD * height + h / SH) * width + w / SW;
    const Index to = (at.d * p.large_h + at.h) * p.large_w + at.w;
    large[to * pixel_step(p.large_channels)] = parts[from * pixel_step(parts_of_all)];
}
