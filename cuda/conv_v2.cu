// ConvV2 (arXiv 2306.15951): a convolution as a matrix product of the map by the packed filter; trimmed, the filter is
// cut for every position to the taps that meet the map.
//
//   filters[g, k, c, c'] = weight[g*group_small + c', c, k]
//   small[n, c', i] = bias[c'] + sum over k, c of large[n, c, i*stride + k*dilation - lo] * filters[g, k, c, c']
//
// Macros: those of common.cuh, tile.cuh and tile_filter.cuh. Maps are shown with their channels first.
// large     [samples, large_channels, large_d, large_h, large_w]
// weight    [small_channels, large_channels / groups, KD, KH, KW]
// filters   [groups, KD, KH, KW, group_large, group_small]
// bias      [small_channels], or null
// partials  [splits], each as small, of the compute type; null where the depth of products is not split
// small     [samples, small_channels, small_d, small_h, small_w]
// Launch: pack_filter with a thread per element of weight, where its output channels are the samples; then
// multiply_positions with grid.x = column tiles * groups * row tiles; trimmed, row tiles are of the samples, for every
// position. Where grid.y splits the depth, add_partials comes last. grid.z is 1.
#include "partials.cuh"
#include "tile_filter.cuh"

extern "C" __global__ void PER_POSITION
pack_filter(const Storage* __restrict__ weight, Storage* __restrict__ filters, const Params p)
{
    const Place at = locate(p, p.group_large);
    if (!at.inside)
        return;
    const Index tap = (at.d * KH + at.h) * KW + at.w;
    const Index group = at.sample / p.group_small, channel = at.sample % p.group_small;
    weight += plane_offset(at.sample, p.group_large, at.channel, KD * KH * KW);
    filters += plane_offset(group, KD * KH * KW, tap, p.group_small * p.group_large);
    filters[at.channel * p.group_small + channel] = weight[tap];
}

extern "C" __global__ void PER_TILE multiply_positions(
    const Storage* __restrict__ large, const Storage* __restrict__ filters, const Storage* __restrict__ bias,
    Compute* __restrict__ partials, Storage* __restrict__ small, const Params p)
{
    TILE_SHARED(Tile, tile);
    Index number = (Index)blockIdx.x;
    const Index column = take(number, tiles_of(p.group_small, TILE_N)) * TILE_N;
    const Index group = take(number, p.small_channels / p.group_small);
    const Rows rows(number, p.samples, p.small_d, p.small_h, p.small_w);
    const Index plane = p.large_d * p.large_h * p.large_w, columns_left = p.group_small - column;

    MapByFilter source;
#pragma unroll
    for (int i = 0; i < OWN_ROWS; i++) {
        const Row own = rows.at(load_row(i));
        const long long sample = map_offset(own.sample, p.large_channels, group * p.group_large, plane);
        source.rows[i] = {
            own.inside ? large + sample : nullptr, own.d * SD - p.lo_d, own.h * SH - p.lo_h, own.w * SW - p.lo_w,
            nullptr};
    }
    source.somewhere = large;
    source.filter = filters + plane_offset(group, KD * KH * KW, 0, p.group_small * p.group_large) + column;
    source.channels = p.group_large;
    source.columns = p.group_small;
    source.columns_left = columns_left;
    source.step = channel_step(plane);
    source.pixel = pixel_step(p.large_channels);
    source.depth = {KD, DD, p.large_d};
    source.height = {KH, DH, p.large_h};
    source.width = {KW, DW, p.large_w};

    const Index channel = group * p.group_small + column, small_plane = p.small_d * p.small_h * p.small_w;
    Sums sums = biased(bias && !partials ? bias + channel : nullptr, columns_left);
    add_share(sums, source, tile);
    const auto place = [&](int number) -> long long {
        const Row row = rows.at(number);
        if (!row.inside)
            return -1;
        return map_offset(row.sample, p.small_channels, channel, small_plane) +
               ((row.d * p.small_h + row.h) * p.small_w + row.w) * pixel_step(p.small_channels);
    };
    if (partials)
        partials += (long long)blockIdx.y * p.samples * p.small_channels * small_plane;
    write_tile(tile, sums, place, partials, small, channel_step(small_plane), columns_left);
}
