"""Arrays between pages that may not be touched, and memory that is poisoned: for calls in a process of its own.

Inputs, weights, outputs, packed weights, tables and scratch memory lie at the end of what may be touched, or at its
beginning. What memory holds beforehand is NaN in any element type. The parts of scratch memory that a plan adds up
have gaps between them, in which nothing may be written.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cupy_kst import Geometry
from cupy_kst.cpu import reference
from cupy_kst.cpu.jit import memory, task
from cupy_kst.cpu.jit.pack import weight as packed_weights
from cupy_kst.cpu.jit.weight_grad import call as weight_grad
from cupy_kst.cpu.jit.winograd.transform import filters
from cupy_kst.testing import check

from .jit_forms import PLANNING, Form, Layer, small_parts
from .jit_layers import FORMS

_LIBRARY = ctypes.CDLL(None, use_errno=True)
_GAP = 1 << 12


def fenced(shape: Any, dtype: Any, at_end: bool) -> Any:
    """Return poisoned memory that begins or ends where a page does that may not be touched."""
    dtype = np.dtype(dtype)
    size, page = int(np.prod(shape)) * dtype.itemsize, mmap.PAGESIZE
    pages = -(-size // page)
    held = mmap.mmap(-1, (pages + 2) * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(held))
    for fence in (address, address + (pages + 1) * page):
        assert _LIBRARY.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0) == 0
    start = page + (pages * page - size if at_end else 0)
    array = np.frombuffer(held, np.uint8, size, start)
    array[...] = 255
    return array.view(dtype).reshape(shape)


class _Fences:
    """What takes the place of the memory that compiled code is given; it stands in for as long as the process runs."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace
        self.at_end = True
        # Tables live as long as the templates that name them, the rest for a call.
        self._tables: list[Any] = []
        self._scratches: deque[Any] = deque(maxlen=8)
        task.address = self._address
        for module in (memory, *PLANNING):
            if hasattr(module, "lines"):
                module.lines = self._lines
        packed_weights.empty = lambda size, dtype: fenced(size, dtype, self.at_end)
        weight_grad.np = _Numpy(self)
        memory.scratch = self._scratch

    def _address(self, array: Any) -> int:
        """Return where an array is, or a copy of a table between fences: of whole numbers, or what biases are zero."""
        table = array.dtype.kind in "iV"
        if table or (array.base is None and array.ndim == 1 and not array.any()):
            copy = fenced(array.shape, array.dtype, self.at_end)
            copy[...] = array
            self._tables.append(copy)
            array = copy
        return memory.address(array)

    def _lines(self, size: int) -> int:
        """Return the bytes of a part, with a gap behind it unless the fence is to be there."""
        return size if self.at_end else _Bytes(size + _GAP, [size])

    def _scratch(self, size: int) -> tuple[Any, int]:
        held = fenced(size, np.uint8, self.at_end)
        self._scratches.append((held, getattr(size, "ends", [])))
        return held, memory.address(held)

    def call(self, form: Form, geometry: Geometry, what: object, *arrays: Any) -> Any:
        """Return what a form makes of arrays."""
        self._trace.write_text(f"{what}, {'end' if self.at_end else 'beginning'} fenced")
        given = []
        for each in arrays:
            copy = None if each is None else fenced(each.shape, each.dtype, self.at_end)
            if each is not None:
                copy[...] = each
            given.append(copy)
        shape = geometry.weight_shape if form.op == "conv_weight" else geometry.output_shape
        out = fenced(shape, arrays[0].dtype, self.at_end)
        self._scratches.clear()
        form.run(geometry, *given, out)
        for held, ends in self._scratches:
            for end in ends:
                assert (held[end : end + _GAP] == 255).all(), f"{what}: scratch memory is written behind its part"
        for before, after in zip(arrays, given, strict=True):
            assert before is None or before.tobytes() == after.tobytes(), f"{what}: an input is written"
        return np.array(out)


class _Bytes(int):
    """Bytes of parts of scratch memory one after the other, and where each of them ends."""

    ends: list[int]

    def __new__(cls, size: int, ends: list[int]) -> _Bytes:
        made = super().__new__(cls, size)
        made.ends = ends
        return made

    def __add__(self, other: int) -> _Bytes:
        return _Bytes(int(self) + int(other), [*self.ends, *(int(self) + end for end in getattr(other, "ends", []))])

    def __mul__(self, threads: int) -> _Bytes:
        assert threads == 1
        return self


class _Numpy:
    """NumPy for a module, whose empty arrays lie between fences."""

    def __init__(self, fences: _Fences) -> None:
        self._fences = fences

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any) -> Any:
        return fenced(shape, dtype, self._fences.at_end)


_fences: _Fences


def begin(trace: Path) -> None:
    """Put up the fences in this process, and tell in a file which call is made."""
    global _fences
    faulthandler.enable()
    os.environ["CUPY_KST_THREADS"] = "1"
    _fences = _Fences(trace)


def check_layers(name: str) -> None:
    """Compute all layers of a form, and compare with the definition."""
    form = FORMS[name]
    for at_end in (True, False):
        for dtype in ("float32", "float64") if at_end else ("float32",):
            with form.chosen(), small_parts():
                _fences.at_end = at_end
                for layer in form.layers:
                    _check_layer(form, layer, dtype)


def _check_layer(form: Form, layer: Layer, dtype: str) -> None:
    given, expected = _case(form.op, layer)
    arrays = (None if each is None else each.astype(dtype) for each in given)
    found = _fences.call(form, layer.geometry(form.op), layer, *arrays)
    np.testing.assert_array_equal(found, expected, err_msg=f"{layer} in {dtype}")


@lru_cache(maxsize=64)
def _case(op: str, layer: Layer) -> tuple[tuple[Any, ...], Any]:
    """Return arrays of small integers, and what the definition makes of them."""
    geometry = layer.geometry(op)
    generator = np.random.default_rng(0)

    def integers(*shape: int) -> Any:
        return generator.integers(-3, 4, shape).astype("float32")

    options = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
    if op == "conv_weight":
        small, large = integers(*geometry.small_shape), integers(*geometry.large_shape)
        expected = reference.conv_transpose_weight(small, geometry.weight_shape, large, **options)
        return (small, large, None), expected
    maps = geometry.small_shape if op == "conv_transpose" else geometry.large_shape
    given = integers(*maps), integers(*geometry.weight_shape), integers(geometry.out_channels)
    if op == "conv_transpose":
        return given, reference.conv_transpose(*given, **options, output_padding=layer.output_padding)
    return given, reference.conv(*given, **options)


def check_drawn(name: str, **limits: Any) -> None:
    """Compute drawn cases by a form, and compare with the definition."""
    form = FORMS[name]

    def transposed(input: Any, weight: Any, bias: Any, *options: Any) -> Any:
        return call(Geometry.conv_transpose(input.shape, weight.shape, *options), input, weight, bias)

    def forward(input: Any, weight: Any, bias: Any, *options: Any) -> Any:
        return call(Geometry.conv(input.shape, weight.shape, *options), input, weight, bias)

    def of_weight(input: Any, weight_size: Any, grad_output: Any, *options: Any) -> Any:
        return call(Geometry.conv(input.shape, weight_size, *options), grad_output, input, None)

    def call(geometry: Geometry, *arrays: Any) -> Any:
        if "winograd" in name and not filters(geometry):
            # So `check` passes over a case that the form cannot compute.
            raise NotImplementedError
        return _fences.call(form, geometry, geometry, *arrays)

    function = {"conv_transpose": transposed, "conv": forward, "conv_weight": of_weight}[form.op]
    for at_end in (True, False):
        _fences.at_end = at_end
        with form.chosen(), small_parts():
            check(
                function,
                op=form.op,
                dtypes=("float32", "float64"),
                seed=int(at_end),
                layouts="contiguous",
                threads=1,
                quiet=True,
                **limits,
            )
