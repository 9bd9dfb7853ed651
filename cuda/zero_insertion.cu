// The baseline: build the zero-inserted, padded map, then convolve it with the whole filter, zeros and all.
//
//   map[n, c', m] = x[n, c', i] where m = i*stride + (K - 1)*dilation - lo, else 0
//   y[n, c, o] = bias[c] + sum over c', k of map[n, c', o + (K - 1 - k)*dilation] * weight[c', c, k]
//
// Macros: those of common.cuh.
// x       [samples, in_channels, in_d, in_h, in_w]
// map     [samples, in_channels, out + (K - 1)*dilation on each axis]
// weight  [in_channels, out_channels / groups, KD, KH, KW]
// bias    [out_channels], or null
// y       [samples, out_channels, out_d, out_h, out_w]
// Launch: insert_zeros with a thread per element of the map, then convolve_map with a thread per element of y.
#include "tap.cuh"

// The input that stands at place `m` of the map along one axis, or -1.
__device__ __forceinline__ Index standing(Index m, Index size, Index lo, Index taps, Index stride, Index dilation)
{
    const Index shifted = m + lo - (taps - 1) * dilation;
    return shifted >= 0 && shifted % stride == 0 && shifted / stride < size ? shifted / stride : -1;
}

extern "C" __global__ void PER_POSITION
insert_zeros(const Storage* __restrict__ x, Storage* __restrict__ map, const Params p)
{
    const Place at = locate(p, p.in_channels);
    if (!at.inside)
        return;
    const Index d = standing(at.d, p.in_d, p.lo_d, KD, SD, DD);
    const Index h = standing(at.h, p.in_h, p.lo_h, KH, SH, DH);
    const Index w = standing(at.w, p.in_w, p.lo_w, KW, SW, DW);
    x += plane_offset(at.sample, p.in_channels, at.channel, p.in_d * p.in_h * p.in_w);
    map += plane_offset(at.sample, p.in_channels, at.channel, p.grid_d * p.grid_h * p.grid_w);
    const bool stands = d >= 0 && h >= 0 && w >= 0;
    map[(at.d * p.grid_h + at.h) * p.grid_w + at.w] = stands ? x[(d * p.in_h + h) * p.in_w + w] : Storage{};
}

extern "C" __global__ void PER_POSITION convolve_map(
    const Storage* __restrict__ map, const Storage* __restrict__ weight, const Storage* __restrict__ bias,
    Storage* __restrict__ y, const Params p)
{
    const Place at = locate(p, p.out_channels);
    if (!at.inside)
        return;
    const Index map_h = p.out_h + (KH - 1) * DH, map_w = p.out_w + (KW - 1) * DW;
    const Index plane = (p.out_d + (KD - 1) * DD) * map_h * map_w, filter = p.group_out * KD * KH * KW;
    const Index group = at.channel / p.group_out, channel = at.channel % p.group_out;
    map += plane_offset(at.sample, p.in_channels, group * p.group_in, plane);
    weight += plane_offset(group * p.group_in, p.group_out, channel, KD * KH * KW);
    y += plane_offset(at.sample, p.out_channels, at.channel, p.out_d * p.out_h * p.out_w);
    Compute sum = bias ? load(bias + at.channel) : Compute{};
    for (Index kd = 0; kd < KD; kd++)
        for (Index kh = 0; kh < KH; kh++)
            for (Index kw = 0; kw < KW; kw++) {
                const Index d = at.d + (KD - 1 - kd) * DD, h = at.h + (KH - 1 - kh) * DH, w = at.w + (KW - 1 - kw) * DW;
                const Index from = (d * map_h + h) * map_w + w, tap = (kd * KH + kh) * KW + kw;
                sum = add_tap(map + from, plane, weight + tap, filter, p.group_in, sum);
            }
    store(y + (at.d * p.out_h + at.h) * p.out_w + at.w, sum);
}
