"""col2im: the lines of all taps of one output channel, added up where they land in a part of the map.

Outputs are made row by row. For each residue class of a row there is a line of sums, to which each tap adds a shifted
line of the product. Unless positions are few, rows have as many zeros between them as taps need (`padded`), so that a
shifted line may run over the end of a row, and all rows of a slice are added at once. Sums of more than CHAIN taps are
added to totals behind the lines of all classes.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ...sums import CHAIN
from ..cache import inlined, inner
from ..vector_ops import accumulate, add, add_pairs, add_strided, clear, copy

_CHAIN = CHAIN


@inner
def _store_total(scratch, line, totals, size, resume):
    """Add a line of sums to the totals, or set them to it unless `resume`, and set the line to zero."""
    if resume:
        accumulate(scratch, line, scratch, totals, size)
    else:
        copy(scratch, line, scratch, totals, size)
    clear(scratch, line, size)


@inlined
def _add_taps(task, arrays, part, lines, x, z_y, q_z, rows, scratch):
    """Add up the lines of all taps of one class, for `rows = (first, count)` rows at depth `q_z`.

    `lines` are where the products are, the line of sums, and the totals; `z_y` the classes of the other axes.
    """
    axes, classes, taps = arrays.axes, arrays.classes, arrays.taps
    products, line, totals = lines
    q, batch = rows
    z, y = z_y
    pitch, left, gap, padded = task.pitch, task.left, task.gap, task.few == 0
    kernel_h, kernel_w, step = axes[1].kernel, axes[2].kernel, axes[2].step
    first_z, end_z = part.depth.first_input, part.depth.end_input
    first_y, end_y = part.height.first_input, part.height.end_input
    first_x, end_x = part.width.first_input, part.width.end_input
    height, row_pitch = end_y - first_y, end_x - first_x + gap
    # Outputs of a part begin at a multiple of the step.
    low = part.width.first_output // step
    high = min(classes[x].positions, (part.width.end_output - classes[x].first + step - 1) // step)
    size = (batch - 1) * row_pitch + max(0, high - low)
    clear(scratch, line, size)
    # Taps that were added to the line, and whether there are totals of others.
    added, resume = 0, False
    for tz in range(classes[z].first_tap, classes[z].end_tap):
        i_z = q_z + taps[tz].shift
        if i_z < first_z or i_z >= end_z:
            continue
        for ty in range(classes[y].first_tap, classes[y].end_tap):
            shift_y = taps[ty].shift
            # Rows that this tap reaches from inputs of the part.
            begin_y = max(q, first_y - shift_y)
            count = min(q + batch, end_y - shift_y) - begin_y
            if count <= 0:
                continue
            i_y = (i_z - first_z) * height + begin_y + shift_y - first_y
            lead = left + i_y * row_pitch - first_x
            of_row = (taps[tz].element * kernel_h + taps[ty].element) * kernel_w
            into = line + (begin_y - q) * row_pitch - low
            for tx in range(classes[x].first_tap, classes[x].end_tap):
                if added == _CHAIN:
                    _store_total(scratch, line, totals, size, resume)
                    added, resume = 0, True
                added += 1
                shift = taps[tx].shift
                begin, end = low, high
                # Rows of few positions have no zeros between them, and beside a row is another one.
                if not padded:
                    begin, end = max(low, first_x - shift), min(high, end_x - shift)
                start = products + (of_row + taps[tx].element) * pitch + lead + begin + shift
                accumulate(scratch, start, scratch, into + begin, max(0, (count - 1) * row_pitch + end - begin))
    if resume:
        accumulate(scratch, totals, scratch, line, size)


@inlined
def _set_row(task, arrays, part, line, number, start, scratch):
    """Add the bias to the lines of all classes of a row, and set its outputs."""
    classes, out, line_pitch = arrays.classes, arrays.out, task.line_pitch
    first_x, end_x, step = arrays.axes[2].first_class, arrays.axes[2].end_class, arrays.axes[2].step
    low, end = part.width.first_output // step, part.width.end_output
    if end_x - first_x == 2 and step == 2:
        whole = min(classes[first_x].positions, (end + 1) // 2) - low
        both = max(0, min(classes[first_x + 1].positions, end // 2) - low)
        add_pairs(scratch, line, line + line_pitch, number, out, start + 2 * low, both)
        if whole > both:
            out[start + 2 * (low + both)] = scratch[line + both] + number
        return
    for x in range(first_x, end_x):
        first, positions = classes[x].first, classes[x].positions
        length = max(0, min(positions, (end - first + step - 1) // step) - low)
        at, to = line + (x - first_x) * line_pitch, start + first + low * step
        if step == 1:
            add(scratch, at, number, out, to, length)
        else:
            add_strided(scratch, at, number, out, to, step, length)


@inlined
def scatter(task, arrays, part, products, number, to, scratch):
    """Add up the products of one output channel where they land, and set its outputs in a part of the map."""
    axes, classes = arrays.axes, arrays.classes
    line, line_pitch, padded = task.line_at, task.line_pitch, task.few == 0
    row_pitch = part.width.end_input - part.width.first_input + task.gap
    first_x, end_x = axes[2].first_class, axes[2].end_class
    step_z, step_y = axes[0].step, axes[1].step
    large_y, large_x = axes[1].large, axes[2].large
    # Totals are of one class at a time, so that there is one line of them.
    totals = line + (end_x - first_x) * line_pitch
    for z in range(axes[0].first_class, axes[0].end_class):
        for q_z in range(classes[z].positions):
            o_z = classes[z].first + q_z * step_z
            if o_z < part.depth.first_output or o_z >= part.depth.end_output:
                continue
            for y in range(axes[1].first_class, axes[1].end_class):
                first = classes[y].first
                q_first = max(0, (part.height.first_output - first + step_y - 1) // step_y)
                q_end = min(classes[y].positions, (part.height.end_output - first + step_y - 1) // step_y)
                # All rows of a slice are one line unless positions are few. Their outputs are set row by row.
                batch = max(1, q_end - q_first) if padded else 1
                for q in range(q_first, q_end, batch):
                    for x in range(first_x, end_x):
                        lines = products, line + (x - first_x) * line_pitch, totals
                        _add_taps(task, arrays, part, lines, x, (z, y), q_z, (q, batch), scratch)
                    for row in range(batch):
                        start = to + (o_z * large_y + first + (q + row) * step_y) * large_x
                        _set_row(task, arrays, part, line + row * row_pitch, number, start, scratch)
