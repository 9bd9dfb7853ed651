// KS-deconv (arXiv 2306.15951): the filter is split into one dense sub-filter per residue class, each rotated; a matrix
// product of the input by it makes the class' outputs, which are written to their places. One launch for all classes.
//
//   filters[g, class, j, c', c] = weight[g*group_small + c', c, k]   where k = u + (T - 1 - j)*stride/gcd
//   large[n, c, first + q*stride] = bias[c] + sum over j, c' of small[n, c', i] * filters[g, class, j, c', c]
//
// with i = start + q - (T - 1 - j)*dilation/gcd, on each axis. The T taps of a class are u, u + stride/gcd, and so on.
//
// A class without taps has the bias alone.
//
// Macros: those of common.cuh, tile.cuh, tile_filter.cuh and tile_interleave.cuh. Channels of maps are shown first.
// small     [samples, small_channels, small_d, small_h, small_w]
// weight    [small_channels, large_channels / groups, KD, KH, KW]
// filters   [groups, taps of all classes (by u of d, h and w, then by j), group_small, group_large]
// bias      [large_channels], or null
// partials  [splits], each as large, of the compute type; null where the depth of products is not split
// large     [samples, large_channels, large_d, large_h, large_w]
// Launch: split_and_rotate with a thread per element of weight, where input channels are the samples; then
// multiply_classes with grid.x = column tiles * classes * groups * row tiles of the first class, which has most
// positions; trimmed, row tiles are of the samples, for every position of the first class; interleaved, one block makes
// all classes along a row. Where grid.y splits the depth, add_partials comes last. grid.z is 1.
#include "gather.cuh"
#include "partials.cuh"
#include "tile_interleave.cuh"

// Taps of the sub-filter that begins at tap `u`, along one axis, and of those in front of it.
__device__ __forceinline__ Index taps_from(Index u, Index taps, Index step)
{
    return u < taps ? (taps - u - 1) / step + 1 : 0;
}
__device__ __forceinline__ Index taps_before(Index u, Index taps, Index step)
{
    const Index longer = taps % step;
    return u * (taps / step) + (u < longer ? u : longer);
}

extern "C" __global__ void PER_POSITION
split_and_rotate(const Storage* __restrict__ weight, Storage* __restrict__ filters, const Params p)
{
    const Place at = locate(p, p.group_large);
    if (!at.inside)
        return;
    const Index step_d = SD / GD, step_h = SH / GH, step_w = SW / GW;
    const Index ud = at.d % step_d, uh = at.h % step_h, uw = at.w % step_w;
    const Index td = taps_from(ud, KD, step_d), th = taps_from(uh, KH, step_h), tw = taps_from(uw, KW, step_w);
    const Index sub_filter = (taps_before(ud, KD, step_d) * KH + td * taps_before(uh, KH, step_h)) * KW +
                             td * th * taps_before(uw, KW, step_w);
    const Index jd = td - 1 - at.d / step_d, jh = th - 1 - at.h / step_h, jw = tw - 1 - at.w / step_w;
    const Index group = at.sample / p.group_small, channel = at.sample % p.group_small;
    weight += plane_offset(at.sample, p.group_large, at.channel, KD * KH * KW);
    filters += plane_offset(group, KD * KH * KW, sub_filter + (jd * th + jh) * tw + jw, p.group_small * p.group_large);
    filters[channel * p.group_large + at.channel] = weight[(at.d * KH + at.h) * KW + at.w];
}

// A residue class along one axis.
struct Class {
    Index first, positions;  // its outputs
    Index taps, before;      // of its sub-filter, and of those in front of it
    Index origin;            // what position 0 meets with tap 0 of the rotated sub-filter
};

__device__ __forceinline__ Class
class_of(Index first, Index outputs, Index lo, Index taps, Index stride, Index dilation, Index common, Index inverse)
{
    const Tap tap = first_tap(first + lo, taps, stride, dilation, common, inverse);
    const Index step = stride / common;
    Class one;
    one.first = first;
    one.positions = (outputs - first - 1) / stride + 1;
    one.taps = taps_from(tap.index, taps, step);
    one.before = taps_before(tap.index, taps, step);
    one.origin = tap.input - (one.taps - 1) * (dilation / common);
    return one;
}

__device__ __forceinline__ Index smaller(Index a, Index b) { return a < b ? a : b; }

// What a block multiplies for one class of each axis.
__device__ __forceinline__ MapByFilter source_of(
    const Storage* __restrict__ small, const Storage* __restrict__ filters, const Rows& rows, const Class& d,
    const Class& h, const Class& w, Index group, Index column, const Params& p)
{
    const Index plane = p.small_d * p.small_h * p.small_w;
    const Index sub_filter = (d.before * KH + d.taps * h.before) * KW + d.taps * h.taps * w.before;
    MapByFilter source;
#pragma unroll
    for (int i = 0; i < OWN_ROWS; i++) {
        const Row own = rows.at(load_row(i));
        const long long sample = map_offset(own.sample, p.small_channels, group * p.group_small, plane);
        source.rows[i] = {
            own.inside ? small + sample : nullptr, d.origin + own.d, h.origin + own.h, w.origin + own.w, nullptr};
    }
    source.somewhere = small;
    source.filter = filters + plane_offset(group, KD * KH * KW, sub_filter, p.group_small * p.group_large) + column;
    source.channels = p.group_small;
    source.columns = p.group_large;
    source.columns_left = p.group_large - column;
    source.step = channel_step(plane);
    source.pixel = pixel_step(p.small_channels);
    source.depth = {d.taps, DD / GD, p.small_d};
    source.height = {h.taps, DH / GH, p.small_h};
    source.width = {w.taps, DW / GW, p.small_w};
    return source;
}

extern "C" __global__ void PER_TILE multiply_classes(
    const Storage* __restrict__ small, const Storage* __restrict__ filters, const Storage* __restrict__ bias,
    [[maybe_unused]] Compute* __restrict__ partials, Storage* __restrict__ large, const Params p)
{
    Index number = (Index)blockIdx.x;
    const Index column = take(number, tiles_of(p.group_large, TILE_N)) * TILE_N;
    const auto class_w = [&](Index first) { return class_of(first, p.large_w, p.lo_w, KW, SW, DW, GW, VW); };
    const Class w = class_w(INTERLEAVED ? 0 : take(number, smaller(SW, p.large_w)));
    const Class h = class_of(take(number, smaller(SH, p.large_h)), p.large_h, p.lo_h, KH, SH, DH, GH, VH);
    const Class d = class_of(take(number, smaller(SD, p.large_d)), p.large_d, p.lo_d, KD, SD, DD, GD, VD);
    const Index group = take(number, p.small_channels / p.group_small);
    const Rows rows(number, p.samples, d.positions, h.positions, w.positions);
    if (!rows.at(0).inside)
        return;
    const Index columns_left = p.group_large - column, channel = group * p.group_large + column;
    const Index plane = p.large_d * p.large_h * p.large_w, step = channel_step(plane);
    // Where a row's output of the class that begins at `first` is, or -1 if it has none.
    const auto place = [&](int number, Index first) -> long long {
        const Row row = rows.at(number);
        const Index out_d = d.first + row.d * SD, out_h = h.first + row.h * SH, out_w = first + row.w * SW;
        if (!row.inside || out_w >= p.large_w)
            return -1;
        return map_offset(row.sample, p.large_channels, channel, plane) +
               ((out_d * p.large_h + out_h) * p.large_w + out_w) * pixel_step(p.large_channels);
    };
#if INTERLEAVED
    TILE_SHARED(Interleaved, shared);
#pragma unroll 1
    for (Index first = 0; first < INTERLEAVED; first++) {
        Sums sums = biased(bias ? bias + channel : nullptr, columns_left);
        MapByFilter source = source_of(small, filters, rows, d, h, class_w(first), group, column, p);
        add_share(sums, source, shared.products.tile);
        __syncthreads();
        keep(sums, shared.classes[first].lines);
    }
    __syncthreads();
    write_interleaved(shared, place, large, step, columns_left);
#else
    TILE_SHARED(Tile, tile);
    Sums sums = biased(bias && !partials ? bias + channel : nullptr, columns_left);
    MapByFilter source = source_of(small, filters, rows, d, h, w, group, column, p);
    add_share(sums, source, tile);
    if (partials)
        partials += (long long)blockIdx.y * p.samples * p.large_channels * plane;
    write_tile(tile, sums, [&](int number) { return place(number, w.first); }, partials, large, step, columns_left);
#endif
}
