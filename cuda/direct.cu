// The baseline of convolution: one thread per output, with bounds tests in place of a padded input.
//
//   small[n, c, i] = bias[c] + sum over c', k of large[n, c', o] * weight[c, c', k]
//   where o = i*stride + k*dilation - lo
//
// Macros: those of common.cuh. Maps are shown with their channels first.
// large   [samples, large_channels, large_d, large_h, large_w]
// weight  [small_channels, large_channels / groups, KD, KH, KW]
// bias    [small_channels], or null
// small   [samples, small_channels, small_d, small_h, small_w]
// Launch: a thread per element of small:
// grid.x = ceil(samples * small_channels * small_d * small_h * small_w / THREADS).
#include "tap.cuh"

extern "C" __global__ void PER_POSITION direct(
    const Storage* __restrict__ large, const Storage* __restrict__ weight, const Storage* __restrict__ bias,
    Storage* __restrict__ small, const Params p)
{
    const Place at = locate(p, p.small_channels);
    if (!at.inside)
        return;
    const Index plane = p.large_d * p.large_h * p.large_w, filter = KD * KH * KW;
    const Index step = channel_step(plane), pixel = pixel_step(p.large_channels);
    large += map_offset(at.sample, p.large_channels, at.channel / p.group_small * p.group_large, plane);
    weight += plane_offset(at.channel, p.group_large, 0, filter);
    small += map_offset(at.sample, p.small_channels, at.channel, p.small_d * p.small_h * p.small_w);
    LongSum sum(bias ? load(bias + at.channel) : Compute{});
    for (Index kd = 0, d = at.d * SD - p.lo_d; kd < KD; kd++, d += DD) {
        if (d < 0 || d >= p.large_d)
            continue;
        for (Index kh = 0, h = at.h * SH - p.lo_h; kh < KH; kh++, h += DH) {
            if (h < 0 || h >= p.large_h)
                continue;
            for (Index kw = 0, w = at.w * SW - p.lo_w; kw < KW; kw++, w += DW) {
                if (w < 0 || w >= p.large_w)
                    continue;
                const Index from = (d * p.large_h + h) * p.large_w + w, tap = (kd * KH + kh) * KW + kw;
                add_tap(sum, large + from * pixel, step, weight + tap, filter, p.group_large);
            }
        }
    }
    store(small + ((at.d * p.small_h + at.h) * p.small_w + at.w) * pixel_step(p.small_channels), sum.value());
}
