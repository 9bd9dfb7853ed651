// The baseline of a weight's gradient: insert zeros into the small map, then correlate the large one with it, zeros and
// all.
//
//   dilated[n, c, m] = small[n, c, i] where m = i*stride, else 0
//   gradient[c, c', k] = sum over n, m of dilated[n, c, m] * large[n, c', m + k*dilation - lo], or 0 off the large map
//
// Macros: those of common.cuh. Maps are shown with their channels first.
// small     [samples, small_channels, small_d, small_h, small_w]
// dilated   [samples, small_channels, (small - 1)*stride + 1 on each axis]
// large     [samples, large_channels, large_d, large_h, large_w]
// gradient  [small_channels, large_channels / groups, KD, KH, KW]
// Launch: dilate with a thread per element of dilated, then correlate_dilated with one per element of the gradient,
// where small channels are the samples and `first_d` is the number of samples.
#include "long_sum.cuh"
#include "padding.cuh"

extern "C" __global__ void PER_POSITION
dilate(const Storage* __restrict__ small, Storage* __restrict__ dilated, const Params p)
{
    const Place at = locate(p, p.small_channels);
    if (!at.inside)
        return;
    small += map_offset(at.sample, p.small_channels, at.channel, p.small_d * p.small_h * p.small_w);
    dilated += map_offset(at.sample, p.small_channels, at.channel, p.grid_d * p.grid_h * p.grid_w);
    const bool stands = at.d % SD == 0 && at.h % SH == 0 && at.w % SW == 0;
    const Index from = (at.d / SD * p.small_h + at.h / SH) * p.small_w + at.w / SW;
    const Index pixel = pixel_step(p.small_channels);
    dilated[((at.d * p.grid_h + at.h) * p.grid_w + at.w) * pixel] = stands ? small[from * pixel] : Storage{};
}

extern "C" __global__ void PER_POSITION correlate_dilated(
    const Storage* __restrict__ dilated, const Storage* __restrict__ large, Storage* __restrict__ gradient,
    const Params p)
{
    const Place at = locate(p, p.group_large);
    if (!at.inside)
        return;
    const Index dilated_d = (p.small_d - 1) * SD + 1, dilated_h = (p.small_h - 1) * SH + 1;
    const Index dilated_w = (p.small_w - 1) * SW + 1, dilated_plane = dilated_d * dilated_h * dilated_w;
    const Index plane = p.large_d * p.large_h * p.large_w;
    const Index dilated_pixel = pixel_step(p.small_channels), pixel = pixel_step(p.large_channels);
    const Index channel = at.sample / p.group_small * p.group_large + at.channel;
    const Index first_d = at.d * DD - p.lo_d, first_h = at.h * DH - p.lo_h, first_w = at.w * DW - p.lo_w;
    LongSum sum(Compute{});
    for (Index n = 0; n < p.first_d; n++) {
        const Storage* one = dilated + map_offset(n, p.small_channels, at.sample, dilated_plane);
        const Storage* other = large + map_offset(n, p.large_channels, channel, plane);
        for (Index md = 0; md < dilated_d; md++)
            for (Index mh = 0; mh < dilated_h; mh++)
                sum.add_terms(dilated_w, [&](Index mw, Compute chain) {
                    const Index d = first_d + md, h = first_h + mh, w = first_w + mw;
                    const bool on_map = d >= 0 && d < p.large_d && h >= 0 && h < p.large_h && w >= 0 && w < p.large_w;
                    const Storage* from = on_map ? other + ((d * p.large_h + h) * p.large_w + w) * pixel : &padding;
                    const Index place = (md * dilated_h + mh) * dilated_w + mw;
                    return multiply_add(load(one + place * dilated_pixel), load(from), chain);
                });
    }
    gradient += plane_offset(at.sample, p.group_large, at.channel, KD * KH * KW);
    store(gradient + (at.d * KH + at.h) * KW + at.w, sum.value());
}
