"""Transposed-convolution layers of five GANs: time, speed-up and bytes saved.

The paper reports that unified kernel segregation is 3.5 times as fast as inserting zeros, on average over the
transposed-convolution layers of "well-known GANs", and that it saves up to 35 MB in those of EB-GAN.

What differs here, and why. Only the paper's abstract was at hand. It names EB-GAN alone, so DCGAN, DiscoGAN, ArtGAN and
GP-GAN are a choice of ours, and their layers are those of the models' public code, not of the paper's table. Of DCGAN
its Torch version is taken, as its authors' own has 5 x 5 filters; all layers here have 4 x 4 filters, stride 2 and
padding 1. EB-GAN's list of channels is an assumption: no public source of its 256 x 256 generator was found, and its
six layers, of 2048 to 64 channels, are such that their maps with zeros come to 35.5 MB. Layers of stride 1, as the
first of most generators, insert no zeros and are not measured. A call takes one sample and a weight of random numbers,
on which its time does not depend.

The abstract does not say on which device the 3.5 were measured, nor which bytes the 35 MB are. So both counts stand
here: gross, the whole zero-inserted, padded map, and net, what is left of it when the input is taken off, which the
other methods still read. Beside `unified` the other methods of this library are measured: `segregated`, the same
authors' earlier one, `split` of arXiv 1907.01773 and `ks_deconv` of arXiv 2306.15951.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial

import numpy as np

from cupy_kst import Geometry
from experiments.harness import frame
from experiments.harness.comparison import Case
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.rows import Row
from experiments.papers.b_unified.gans import chart
from experiments.papers.b_unified.gans.numbers import METHODS, NETWORKS
from experiments.papers.b_unified.gans.tables import sheets
from experiments.papers.b_unified.measurements import rows_of, saved_bytes
from experiments.workloads import layers

NAME = "b_gans"
# After this time the slow layers of a quick run get fewer samples.
QUICK_SECONDS = 0.3

_SEED = 0


def units(settings: Settings) -> list[Unit]:
    """Return a unit for each layer, those of one shape as one."""
    return [Unit(layer.label, layer.label, partial(measure, layer, settings)) for layer in layers.named(NETWORKS)]


def measure(layer: layers.LayerSpec, settings: Settings) -> list[Row]:
    """Return a row for each method on one layer."""
    draw = np.random.default_rng(_SEED).random
    x, weight = (2 * draw(shape, np.float32) - 1 for shape in (layer.input_shape(1), layer.weight_shape))
    bytes_saved = saved_bytes(Geometry.conv_transpose(x.shape, weight.shape, **layer.options), x.itemsize)
    case = Case(layer.label, x, weight, layer.options)
    same = {"layers": [name for name in layer.names if name.rpartition(" ")[0] in NETWORKS], **asdict(bytes_saved)}
    rounds = replace(settings.rounds, limit=QUICK_SECONDS) if settings.quick else settings.rounds
    return [{**same, **row} for row in rows_of(case, METHODS, settings.device, settings.clock, rounds)]


PAPER = Paper(
    name=NAME,
    source="B, arXiv 2502.20493",
    about=__doc__,
    units=units,
    sheets=sheets,
    draw=chart.draw,
)
command = frame.command(PAPER)
