"""Threads that share an access to shared memory meet different banks, in the tiles of Sk-dilated.

Kernels here write a tile as the method does, and read it so, of numbers that tell where they are from.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.build import source
from cupy_kst.gpu.methods import sk_dilated
from cupy_kst.gpu.select.tiles import Defines
from tests.emulator import Emulator, require
from tests.emulator.trials import ONE, run

BANKS, WORD = 32, 4
# A thread's own numbers that it writes as rows, and as columns.
NUMBERS = 256

WRITE = """
extern "C" __global__ void k(unsigned char* to, const Storage* numbers) {
  Tile& tile = *reinterpret_cast<Tile*>(to);
  const Storage* own = numbers + threadIdx.x * 256;
  MapByMap map;
  map.small = {own, 0, 1, 0, 0, 0, TILE_M - load_line()};
  map.large = {own + 128, 0, 1, 0, 0, 0, TILE_N - load_line()};
  map.samples = map.count_d = map.count_h = map.count_w = 1;
  map.next = map.step = {0, 0, 0, 0};
  map.fetch(tile, 0);
  map.put(tile, 0);
#if TENSOR
  commit_copies();
  wait_copies<0>();
#endif
}
"""
READ = """
extern "C" __global__ void k(unsigned* to, const unsigned char* from) {
  const Tile& tile = *reinterpret_cast<const Tile*>(from);
  Fragments own;
  own.take(tile, 0, 0);
  for (int i = 0; i < THREAD_M / 2; i++)
    for (int part = 0; part < 4; part++)
      to[(i * 4 + part) * TILE_THREADS + threadIdx.x] = own.a[i][part];
  to += THREAD_M * 2 * TILE_THREADS;
  for (int j = 0; j < THREAD_N / 2; j++)
    for (int part = 0; part < 2; part++)
      to[(j * 2 + part) * TILE_THREADS + threadIdx.x] = own.b[j][part];
}
"""

Form = tuple[str, bool, Defines]


def _forms() -> Iterator[Form]:
    for dtype in ("float16", "float32"):
        for last in (False, True):
            for form in sk_dilated.builds(DTYPES[dtype], last):
                if dtype == "float32" or dict(form)["TENSOR"] != "0":
                    yield dtype, last, form


def _name(form: Form) -> str:
    dtype, last, defines = form
    values = dict(defines)
    tile = "x".join(values[f"TILE_{axis}"] for axis in "MNK")
    return f"{dtype}-{'last' if last else 'first'}-{tile}-tensor{values['TENSOR']}-{values['VECTOR_A']}"


FORMS = list(_forms())


def _run(form: Form, kernel: str, to: NDArray[Any], numbers: NDArray[Any]) -> None:
    require()
    dtype, last, defines = form
    text = source.text("sk_dilated", dtype, channels_last=last, defines=defines)
    run(Emulator(), text + kernel, ONE, (_threads(defines), 1, 1), to, numbers)


def _threads(defines: Defines) -> int:
    m, n, own_m, own_n = (int(dict(defines)[name]) for name in ("TILE_M", "TILE_N", "THREAD_M", "THREAD_N"))
    return m // own_m * (n // own_n)


def _numbers(dtype: str, count: int) -> NDArray[Any]:
    return np.arange(count).astype(np.uint16 if dtype == "float16" else np.float32)


def _ways(words: set[int]) -> int:
    """Return how many words of one bank are among some."""
    return max(Counter(word % BANKS for word in words).values())


@pytest.mark.long(but=lambda form: FORMS.index(form) % 4 == 0)
@pytest.mark.parametrize("form", FORMS, ids=_name)
def test_threads_write_to_different_banks(form: Form) -> None:
    dtype, last, defines = form
    numbers = _numbers(dtype, NUMBERS * _threads(defines))
    tile = np.full(2**17 // numbers.itemsize, numbers[-1])
    _run(form, WRITE, tile, numbers)
    (places,) = np.nonzero(tile != numbers[-1])
    # The bytes of one access: at most 128 at a time are written.
    width = max(WORD, int(dict(defines)["VECTOR_A"]) * numbers.itemsize)
    accesses = defaultdict(set)
    for place in places.tolist():
        thread, number = divmod(int(tile[place]), NUMBERS)
        access = number * numbers.itemsize // width
        accesses[thread // (BANKS * WORD // width), access].add(place * numbers.itemsize // WORD)
    sizes = [int(dict(defines)[f"TILE_{axis}"]) for axis in "MNK"]
    assert len(places) == (sizes[0] + sizes[1]) * sizes[2]
    # By single elements, words of 16-bit ones and pixels of channels leave half of the banks.
    half = width == WORD and (dtype == "float16" or last)
    assert max(map(_ways, accesses.values())) <= (2 if half else 1)


@pytest.mark.long(but=lambda form: FORMS.index(form) % 4 == 0)
@pytest.mark.parametrize("form", [each for each in FORMS if dict(each[2])["TENSOR"] != "0"], ids=_name)
def test_lanes_read_from_different_banks(form: Form) -> None:
    dtype, _, defines = form
    tile = _numbers(dtype, 2**16)
    fragments = int(dict(defines)["THREAD_M"]) * 2 + int(dict(defines)["THREAD_N"])
    read = np.zeros((fragments, _threads(defines)), np.uint32)
    _run(form, READ, read, tile)
    for access in read.reshape(-1, BANKS):
        places = access.view(tile.dtype).astype(np.int64) * tile.itemsize // WORD
        assert _ways(set(places.tolist())) == 1
