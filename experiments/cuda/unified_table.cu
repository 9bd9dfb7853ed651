// Unified kernel segregation with the array that arXiv 2502.20493 is said to keep, for two spatial axes: each thread
// reads from memory how many rows and columns the sub-kernel of its class has. cuda/unified.cu needs no such array, as
// its loops over the taps end with the filter.
//
//   large[n, c, o] = sum over c', k of small[n, c', i] * weight[c', c, k]   where o = i*stride + k - lo
//
// Macros: those of common.cuh; CHANNELS_LAST is 0. This text stands behind that of unified.cu, whose headers it uses.
// small   [samples, small_channels, small_h, small_w]
// weight  [small_channels, large_channels / groups, KH, KW]
// large   [samples, large_channels, large_h, large_w]
// sizes   [SH, SW, 2]: rows and columns of the sub-kernel of each class
// Launch: as unified.cu.
extern "C" __global__ void PER_POSITION unified_table(
    const Storage* __restrict__ small, const Storage* __restrict__ weight, Storage* __restrict__ large,
    const int* __restrict__ sizes, const Params p)
{
    const Place at = locate(p, p.large_channels);
    if (!at.inside)
        return;
    const Index class_h = (at.h + p.lo_h) % SH, class_w = (at.w + p.lo_w) % SW;
    const int rows = sizes[(class_h * SW + class_w) * 2], columns = sizes[(class_h * SW + class_w) * 2 + 1];
    const Index first_h = (at.h + p.lo_h) / SH, first_w = (at.w + p.lo_w) / SW;
    const Index plane = p.small_h * p.small_w, filter = p.group_large * KH * KW;
    const Index group = at.channel / p.group_large, channel = at.channel % p.group_large;
    small += map_offset(at.sample, p.small_channels, group * p.group_small, plane);
    weight += plane_offset(group * p.group_small, p.group_large, channel, KH * KW);
    large += map_offset(at.sample, p.large_channels, at.channel, p.large_h * p.large_w);
    LongSum sum(Compute{});
    for (int row = 0; row < rows; ++row) {
        const Index ih = first_h - row;
        if (ih < 0 || ih >= p.small_h)
            continue;
        for (int column = 0; column < columns; ++column) {
            const Index iw = first_w - column;
            if (iw < 0 || iw >= p.small_w)
                continue;
            const Index from = ih * p.small_w + iw, tap = (class_h + row * SH) * KW + class_w + column * SW;
            add_tap(sum, small + from, plane, weight + tap, filter, p.group_small);
        }
    }
    store(large + at.h * p.large_w + at.w, sum.value());
}
