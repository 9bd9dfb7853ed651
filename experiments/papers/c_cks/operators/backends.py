"""The ways to carry out one C-K-S operator on one layer: baseline, with and without trimming, as called, by PyTorch.

On the GPU trimming is a form that `cupy_kst.prepare` pins. NumPy's forms choose it by themselves, so here the two
functions that they choose between are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import cupy_kst
from cupy_kst import Geometry, cpu, grad
from cupy_kst.cpu import reference, windows
from cupy_kst.cpu.methods import segregated
from cupy_kst.dtypes import DTYPES
from cupy_kst.methods import Role
from cupy_kst.problem import Choice, Problem
from experiments.harness.devices import Device
from experiments.papers.c_cks.operators import author_rules

Array = NDArray[Any]
Call = Callable[[], Any]

# What a row's `role` is: the operation with its zeros, the operator without and with trimming, the operator as a user
# calls it, whatever form the library then takes.
BASELINE, WHOLE, TRIMMED, CALLED, PEER = "baseline", "whole", "trimmed", "called", "torch"

# What tables say where it has no rows.
NO_PEER = "PyTorch is left out: it is compared with on a CPU alone, and where it is installed."

SAMPLES, CHANNELS = 64, 64
PADDING = {3: 1, 4: 1, 5: 2}

_SEED = 0


@dataclass(frozen=True)
class Operator:
    """One of the paper's three operators, and the method that it is compared with."""

    name: str
    op: Literal["conv", "conv_input", "conv_weight"]
    method: str
    baseline: str
    stride: int

    @property
    def title(self) -> str:
        return f"{self.name}, stride {self.stride}"


OPERATORS = (
    Operator("ConvV2", "conv", "conv_v2", "direct", 1),
    Operator("ConvV2", "conv", "conv_v2", "direct", 2),
    Operator("KS-deconv", "conv_input", "ks_deconv", "zero_insertion", 2),
    Operator("Sk-dilated", "conv_weight", "sk_dilated", "zero_dilation", 2),
)


@dataclass(frozen=True)
class SquareLayerSpec:
    """A convolution of square maps, which an operator computes or is a gradient of."""

    operator: Operator
    taps: int
    side: int
    samples: int = SAMPLES
    channels: int = CHANNELS

    @property
    def options(self) -> dict[str, Any]:
        return {"stride": self.operator.stride, "padding": PADDING[self.taps]}

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.samples, self.channels, self.side, self.side)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.channels, self.channels, self.taps, self.taps)

    @property
    def geometry(self) -> Geometry:
        return Geometry.conv(self.input_shape, self.weight_shape, **self.options)

    @property
    def axis(self) -> author_rules.Axis:
        stride, padding = self.operator.stride, PADDING[self.taps]
        return author_rules.Axis(self.side, self.geometry.output_shape[-1], self.taps, stride, padding)

    def arrays(self) -> tuple[Array, Array, Array]:
        """Return input, weight and the output's gradient, drawn evenly from [-1, 1), always the same ones."""
        draw = np.random.default_rng(_SEED).random
        shapes = (self.input_shape, self.weight_shape, self.geometry.output_shape)
        x, w, g = (2 * draw(shape, dtype=np.float32) - 1 for shape in shapes)
        return x, w, g


@dataclass(frozen=True)
class Backend:
    """One way to carry an operator out: its place in the comparison, method and form, the call, and its result."""

    role: str
    method: str
    form: str
    call: Call
    fetch: Callable[[Any], Array]


def backends(layer: SquareLayerSpec, device: Device, torch: Any = None) -> list[Backend]:
    """Return those that there are on `device`; PyTorch's is left out where `torch` is None."""
    x, w, g = layer.arrays()
    found = _library(layer, device, *map(device.put, (x, w, g)))
    found += _numpy(layer, x, w, g) if device.cupy is None else _pinned(layer, device, *map(device.put, (x, w, g)))
    return [*found, _torch(torch, layer, x, w, g)] if torch else found


def expected(layer: SquareLayerSpec, samples: slice) -> Array:
    """Return the float64 result by its definition: of some samples, or the filter's gradient, which is of all."""
    x, w, g = layer.arrays()
    if layer.operator.op == "conv":
        return reference.conv(x[samples], w, **layer.options)
    if layer.operator.op == "conv_input":
        one = g[samples]
        return reference.conv_input((len(one), *x.shape[1:]), w, one, **layer.options)
    return reference.conv_weight(x, w.shape, g, **layer.options)


def _library(layer: SquareLayerSpec, device: Device, x: Any, w: Any, g: Any) -> list[Backend]:
    """Return the baseline and the operator as a user calls them."""
    operator, geometry = layer.operator, layer.geometry

    def call(method: str) -> Call:
        how: Any = {"method": method, **layer.options}
        calls: dict[str, Call] = {
            "conv": lambda: cupy_kst.conv2d(x, w, **how),
            "conv_input": lambda: grad.conv2d_input(x.shape, w, g, **how),
            "conv_weight": lambda: grad.conv2d_weight(x, w.shape, g, **how),
        }
        return calls[operator.op]

    return [
        Backend(role, method, device.form(method, geometry, "float32"), call(method), device.get)
        for role, method in ((BASELINE, operator.baseline), (CALLED, operator.method))
    ]


def _numpy(layer: SquareLayerSpec, x: Array, w: Array, g: Array) -> list[Backend]:
    """Return NumPy's forms of the operator without and with trimming; Sk-dilated has none without."""
    geometry, method = layer.geometry, layer.operator.method

    def backend(role: str, form: str, written: tuple[int, ...], write: Callable[[Array], None]) -> Backend:
        def call() -> Array:
            out = np.empty(written, np.float32)
            write(out)
            return out

        return Backend(role, method, form, call, np.asarray)

    def convolved(convolve: Callable[..., None]) -> Callable[[Array], None]:
        return lambda out: convolve(geometry, _grouped(x), w[None, :, :, None], None, _grouped(out))

    def deconvolved(trimmed: bool) -> Callable[[Array], None]:
        one = segregated.convolve_classes
        return lambda out: one(geometry, _grouped(g), w[None, :, :, None], None, _grouped(out), trimmed)

    if layer.operator.op == "conv":
        small = geometry.output_shape
        return [
            backend(WHOLE, "numpy_im2col", small, convolved(windows.convolve_padded)),
            backend(TRIMMED, "numpy_im2col/trimmed", small, convolved(windows.convolve_parts)),
        ]
    if layer.operator.op == "conv_input":
        return [
            backend(WHOLE, "numpy_im2col", x.shape, deconvolved(False)),
            backend(TRIMMED, "numpy_im2col/trimmed", x.shape, deconvolved(True)),
        ]
    maps: dict[Role, Array | None] = {"small": g, "large": x}
    taps = partial(cpu.run, Problem("conv_weight", geometry, DTYPES["float32"]), Choice(method, "numpy_per_tap"))
    return [backend(TRIMMED, "numpy_per_tap", w.shape, lambda out: taps({**maps, "weight": out}))]


def _grouped(array: Array) -> Array:
    """Return a map as NumPy's functions take it: (samples, groups, channels, depth, height, width)."""
    view: Array = array[:, None, :, None]
    return view


def _pinned(layer: SquareLayerSpec, device: Device, x: Any, w: Any, g: Any) -> list[Backend]:
    """Return the CUDA kernels' two forms of the operator; Sk-dilated has none without trimming."""
    operator = layer.operator
    op = operator.op
    if op == "conv_weight":
        return []
    taken = device.form(operator.method, layer.geometry, "float32")
    plain = taken.replace("/trimmed", "").replace("/interleaved", "")
    tile, split, parts = plain.partition("/split")
    given = x if op == "conv" else g
    # A gradient's input may be larger than its output explains by itself.
    extra = 0 if op == "conv" else layer.side - _explained(layer)
    options: Any = {**layer.options, "output_padding": extra}

    def pinned(form: str) -> Call:
        prepared = cupy_kst.prepare(w, op=op, method=operator.method, form=form, **options)
        return lambda: prepared(given)

    forms = ((WHOLE, plain), (TRIMMED, f"{tile}/trimmed{split}{parts}"))
    return [Backend(role, operator.method, form, pinned(form), device.get) for role, form in forms]


def _explained(layer: SquareLayerSpec) -> int:
    axis = layer.axis
    return (axis.small - 1) * axis.stride - 2 * axis.padding + axis.taps


def _torch(torch: Any, layer: SquareLayerSpec, *arrays: Array) -> Backend:
    x, w, g = map(torch.from_numpy, arrays)
    stride, padding = ([layer.options[name]] * 2 for name in ("stride", "padding"))

    def gradient(of: int) -> Any:
        # What autograd calls, told to make the one gradient alone.
        backward = torch.ops.aten.convolution_backward
        mask = [of == 0, of == 1, False]
        return backward(g, x, w, None, stride, padding, [1, 1], False, [0, 0], 1, mask)[of]

    calls: dict[str, Call] = {
        "conv": lambda: torch.nn.functional.conv2d(x, w, None, stride, padding),
        "conv_input": lambda: gradient(0),
        "conv_weight": lambda: gradient(1),
    }
    return Backend(PEER, "torch", "", calls[layer.operator.op], lambda tensor: np.asarray(tensor.numpy()))
