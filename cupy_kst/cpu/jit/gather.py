"""The copy of a box of the input, in which every vector of positions begins at a place that is known beforehand.

A box has `samples` times `depth` times `height` times `width` positions, and a halo of inputs that positions at its
edges read. Inputs that are read together, every `stride`-th one, lie side by side, phase by phase. Where the box
reaches beyond the map there are zeros, so that no kernel asks where the map ends.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from .cache import inlined, inner
from .overrunning_copy import overrunning_copy, overrunning_zeros
from .vector_ops import copy_strided

_copy, _copy_every_other = overrunning_copy(1), overrunning_copy(2)


@inlined
def _set_spans(axis, phases, count, first, width, spans):
    """Set for each phase where the map's columns begin in a row of the box and where they end.

    This is done once a box, since divisions take as long as short rows.
    """
    step, size, lowest = axis.stride, axis.size, axis.lowest
    for f in range(count):
        low = step * (first + lowest) + phases[f].width
        begin = min(width, max(0, -(low // step)))
        spans[2 * f] = begin
        spans[2 * f + 1] = max(begin, min(width, (size - 1 - low) // step + 1))


@inner
def gather(source, origin, count, layout, axes, phases, box, sample, samples, buffer, spans):
    """Copy some samples and `count` channels of a box, phase by phase, with zeros where it reaches beyond the map.

    Rows are written one behind the other, so a row may overrun its end by a part of a vector, unless this vector would
    be read beyond the source.
    """
    lanes, of_phases, group_channels = layout.lanes, layout.phases, layout.channels
    groups, sample_size, channel_size = layout.groups, layout.sample_size, layout.channel_size
    phase_size = layout.phase_size
    size_d, size_h, line = axes[0].size, axes[1].size, axes[2].size
    step_d, step_h, step = axes[0].stride, axes[1].stride, axes[2].stride
    depth, height, width = box.depth + axes[0].halo, box.height + axes[1].halo, box.width + axes[2].halo
    first_d = step_d * (box.first_depth + axes[0].lowest)
    first_h = step_h * (box.first_height + axes[1].lowest)
    first_w = step * (box.first_width + axes[2].lowest)
    rows, pitch = axes[1].extent, axes[2].extent
    plane = size_h * line
    size = layout.samples * groups * group_channels * size_d * plane
    # What whole vectors read of a row.
    reach = (width + lanes - 1) // lanes * lanes * step
    _set_spans(axes[2], phases, of_phases, box.first_width, width, spans)
    for n in range(samples):
        for c in range(count):
            of_channel = origin + ((sample + n) * groups * group_channels + c) * size_d * plane
            for f in range(of_phases):
                low_d, low_h, low_w = first_d + phases[f].depth, first_h + phases[f].height, first_w + phases[f].width
                begin, end = spans[2 * f], spans[2 * f + 1]
                to_phase = n * sample_size + c * channel_size + f * phase_size
                for d in range(depth):
                    at_d = low_d + d * step_d
                    to = to_phase + d * rows * pitch
                    # A slice beyond the map is zeros, all of its rows at once.
                    if at_d < 0 or at_d >= size_d:
                        overrunning_zeros(buffer, to, height * pitch)
                        continue
                    of_slice = of_channel + at_d * plane + low_w
                    for h in range(height):
                        at_h = low_h + h * step_h
                        start = of_slice + at_h * line
                        if at_h < 0 or at_h >= size_h:
                            overrunning_zeros(buffer, to, width)
                        # Whole vectors would read in front of the source or behind it. With a step of more than two
                        # there is no copy by vectors.
                        elif step > 2 or start < 0 or start + reach > size:
                            overrunning_zeros(buffer, to, begin)
                            copy_strided(source, start + begin * step, step, buffer, to + begin, end - begin)
                            overrunning_zeros(buffer, to + end, width - end)
                        elif step == 1:
                            _copy(source, start, buffer, to, begin, end, width)
                        else:
                            _copy_every_other(source, start, buffer, to, begin, end, width)
                        to += pitch
