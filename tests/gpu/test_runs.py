"""How many stages of a tile's product the kernels sum in one run, and what the longest sums may err by then.

Kernels here ask `stages_of_run` of cuda/tile_fma.cuh, whatever it is made by.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.build import source
from cupy_kst.gpu.methods import REGISTRY
from tests.emulator import Emulator, require
from tests.emulator.trials import ONE, run

# Errors of n numbers are below C * sqrt(n) units in the last place.
C = 8
K = 8
ASK = """
extern "C" __global__ void k(int* to, const int* from, int count) {
  for (int i = 0; i < count; i++)
    to[i] = stages_of_run(from[3 * i], from[3 * i + 1], from[3 * i + 2]);
}
"""
TAPS = (*range(1, 13), 15, 16, 20, *range(25, 37), 45, 49, 60, 64, 81, 100, 121, 150, 169, 200)
CHANNELS = (*range(1, 27), 31, 32, 33, 40, 41, 63, 64, 65, 100, 129, 257, 300, 513, 600)


class Product(NamedTuple):
    """Sums over channels and taps, whose stages are divided among blocks."""

    taps: int
    channels: int
    splits: int

    @property
    def shares(self) -> list[range]:
        """The stages of each block."""
        stages = self.taps * -(-self.channels // K)
        most = -(-stages // self.splits)
        return [range(first, min(first + most, stages)) for first in range(0, stages, most)]

    def numbers(self, real: int) -> NDArray[np.int64]:
        """Return how many numbers each stage adds to an output that is met by the first `real` taps."""
        deep = np.minimum(K, self.channels - np.arange(0, self.channels, K))
        return np.outer(deep, np.arange(self.taps) < real).ravel()


def runs_of(dtype: str, asked: list[tuple[int, int, int]]) -> NDArray[np.int32]:
    """Return the stages of a run where so many stages, taps and channels are summed."""
    require()
    defines = next(form for form in REGISTRY["conv_v2"].builds(DTYPES[dtype], False) if dict(form)["TENSOR"] == "0")
    assert dict(defines)["TILE_K"] == str(K)
    to = np.zeros(len(asked), np.int32)
    text = source.text("conv_v2", dtype, defines=defines)
    run(Emulator(), text + ASK, ONE, ONE, to, np.array(asked, np.int32), np.int32(len(asked)))
    return to


def products() -> Iterator[Product]:
    for taps in TAPS:
        for channels in CHANNELS:
            for splits in (1, 2, 9):
                yield Product(taps, channels, splits)


def halves(product: Product, numbers: NDArray[np.int64], runs: list[int]) -> int:
    """Return the half units that a sum may err by: one for each addition to the largest of all numbers.

    The numbers of a run are added up, then the sums of runs, then those of blocks.
    """
    worst = 0
    for share, stages in zip(product.shares, runs, strict=True):
        added = np.add.reduceat(numbers[share.start : share.stop], np.arange(0, len(share), stages))
        worst = max(worst, int(added.max()) + np.count_nonzero(added))
    return worst + len(runs) * (len(runs) > 1)


@pytest.mark.long(but=lambda parts: parts == 1)
@pytest.mark.parametrize(("dtype", "parts"), [("float32", 1), ("complex64", 2)])
def test_no_order_of_stages_breaks_the_bound(dtype: str, parts: int) -> None:
    every = list(products())
    asked = {(len(share), each.taps, each.channels): 0 for each in every for share in each.shares}
    asked.update(zip(asked, runs_of(dtype, list(asked)).tolist(), strict=True))
    for each in every:
        runs = [asked[len(share), each.taps, each.channels] for share in each.shares]
        # Outputs at a border are met by part of the taps.
        for real in {each.taps, -(-each.taps * 9 // 10), -(-each.taps // 2), -(-each.taps // 5), 1}:
            numbers = parts * each.numbers(real)
            bound = C * sqrt(numbers.sum())
            assert halves(each, numbers, runs) / 2 <= bound, (each, real, runs)


@pytest.mark.parametrize(("dtype", "parts"), [("float32", 1), ("complex64", 2)])
def test_short_sums_are_one_run(dtype: str, parts: int) -> None:
    shallow = [(240 // parts // deep, 1, deep) for deep in range(1, K + 1)]
    assert all(run >= stages for run, (stages, *_) in zip(runs_of(dtype, shallow), shallow, strict=True))


@pytest.mark.parametrize(("dtype", "parts"), [("float32", 1), ("complex64", 2)])
def test_runs_are_not_shorter_than_the_bound_needs(dtype: str, parts: int) -> None:
    """Between runs a thread waits for memory."""
    asked = [(taps * -(-channels // K), taps, channels) for taps, channels, _ in products()]
    least = 240 // parts // K
    assert all(run >= least for run in runs_of(dtype, asked))
