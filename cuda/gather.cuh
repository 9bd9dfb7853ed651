// The sum over the taps of one residue class that one output takes, without a zero among them.
#pragma once
#include "tap.cuh"

// Along one axis: the first tap of an output, and the input that it meets.
struct Tap {
    Index index, input;
};

// For the output `o + lo`: its class is r = (o + lo) mod stride. If the gcd of stride and dilation does not divide r,
// no input lands there, which a first tap past the filter says.
__device__ __forceinline__ Tap
first_tap(Index padded, Index taps, Index stride, Index dilation, Index common, Index inverse)
{
    const Index residue = padded % stride;
    Tap tap;
    tap.index = residue % common ? taps : residue / common * inverse % (stride / common);
    tap.input = (padded - tap.index * dilation) / stride;
    return tap;
}

// bias + sum over taps and channels of small[c, d, h, w] * weight[c, kd, kh, kw], for a map and a weight that
// begin at the group's first input channel. Channels are innermost, so that a tap's bounds are tested once for all.
__device__ __forceinline__ Compute gather(
    const Params& p, const Storage* __restrict__ small, const Storage* __restrict__ weight, Compute bias, Index od,
    Index oh, Index ow)
{
    const Tap d = first_tap(od + p.lo_d, KD, SD, DD, GD, VD);
    const Tap h = first_tap(oh + p.lo_h, KH, SH, DH, GH, VH);
    const Tap w = first_tap(ow + p.lo_w, KW, SW, DW, GW, VW);
    const Index step = channel_step(p.small_d * p.small_h * p.small_w), pixel = pixel_step(p.small_channels);
    const Index filter = p.group_large * KD * KH * KW;
    LongSum sum(bias);
    for (Index kd = d.index, id = d.input; kd < KD; kd += SD / GD, id -= DD / GD) {
        if (id < 0 || id >= p.small_d)
            continue;
        for (Index kh = h.index, ih = h.input; kh < KH; kh += SH / GH, ih -= DH / GH) {
            if (ih < 0 || ih >= p.small_h)
                continue;
            for (Index kw = w.index, iw = w.input; kw < KW; kw += SW / GW, iw -= DW / GW) {
                if (iw < 0 || iw >= p.small_w)
                    continue;
                const Index from = (id * p.small_h + ih) * p.small_w + iw, tap = (kd * KH + kh) * KW + kw;
                add_tap(sum, small + from * pixel, step, weight + tap, filter, p.group_small);
            }
        }
    }
    return sum.value();
}

// Write the output at (d, h, w) of a place's sample and channel.
__device__ __forceinline__ void gather_output(
    const Params& p, const Storage* __restrict__ small, const Storage* __restrict__ weight,
    const Storage* __restrict__ bias, Storage* __restrict__ large, const Place& at, Index d, Index h, Index w)
{
    const Index group = at.channel / p.group_large, channel = at.channel % p.group_large;
    small += map_offset(at.sample, p.small_channels, group * p.group_small, p.small_d * p.small_h * p.small_w);
    weight += plane_offset(group * p.group_small, p.group_large, channel, KD * KH * KW);
    large += map_offset(at.sample, p.large_channels, at.channel, p.large_d * p.large_h * p.large_w);
    const Compute sum = gather(p, small, weight, bias ? load(bias + at.channel) : Compute{}, d, h, w);
    store(large + ((d * p.large_h + h) * p.large_w + w) * pixel_step(p.large_channels), sum);
}
