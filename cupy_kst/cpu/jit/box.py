"""Tables of boxes: the columns by which `gather` copies what a box of positions reads."""

from __future__ import annotations

from .task import table_type

# What all boxes of a call share: the map, and how far samples, channels and phases are from each other in the copy.
GATHER = table_type(
    *("samples", "groups", "channels", "phases", "lanes"), *("sample_size", "channel_size", "phase_size")
)
# An axis: inputs and outputs of the map; how far apart the inputs of neighbouring positions are, and the lowest one
# that a position reads, in such steps; inputs of a box, how far apart the outputs of neighbouring positions are, and
# how many more inputs than positions are read.
AXIS = table_type("size", "outputs", "stride", "lowest", "extent", "step", "halo")
# The residues of a phase along the axes.
PHASE = table_type("depth", "height", "width")
# The first position of a box and how many it has; tables of boxes go on with columns of their own.
BOX_COLUMNS = (
    *("first_sample", "first_depth", "first_height", "first_width"),
    *("samples", "depth", "height", "width"),
)
