"""Does split deconvolution change the result? Error and SSIM against the definition.

The paper compares the pictures that networks make with split deconvolution with those of the original layers, and
also two earlier conversions to ordinary convolutions, by Shi et al. and by Chang et al., which only approximate them.
Split deconvolution is the same sum in another order, so it changes nothing but rounding. Its table of errors was not at
hand; the measure is that of the program in the authors' repository: a structural similarity (SSIM) of one window, the
whole picture, with the constants (0.01 * 255)^2 and (0.03 * 255)^2.

Here the reference is the definition in float64, which shares no code with the methods. On integers every sum is exact,
so that each output must be the same number. On real data, a photograph upsampled by linear interpolation and the layers
of a DCGAN in the shapes of the authors' repository, what differs is rounding to float32; inserted zeros (NZP) and the
method that the library takes by itself stand beside it, and the same picture moved by one pixel shows what a difference
looks like in these measures. The DCGAN's weights are random, always the same ones: trained weights would make a
meaningful picture, and round alike.

The conversions by Shi and by Chang are named and not built again. The texts that define them were not at hand; what we
would compare with is a guess at them, and how wrong a guess is says nothing of their authors' work.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import cupy_kst
from experiments.harness import frame
from experiments.harness.comparison import Case
from experiments.harness.devices import Device
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.rows import Row
from experiments.papers.d_split import network_layers
from experiments.papers.d_split.network_layers import METHODS, definition
from experiments.papers.d_split.quality.chart import draw
from experiments.papers.d_split.quality.numbers import MOVED, VISIBLE
from experiments.papers.d_split.quality.tables import sheets
from experiments.quickstart.filters import cases as upsampling_cases
from experiments.workloads import images

Pixels = NDArray[np.float64]

KERNELS, STRIDES = range(1, 8), range(1, 5)
SIDE, QUICK_SIDE = 224, 64

# Pictures that the DCGAN makes, and how its input is drawn: as the authors' program does.
SAMPLES, LATENT, SPREAD = 4, 100, 0.25

SEED = 0

# The photograph's filter of which the chart shows a detail, and that in pixels.
SHOWN, DETAIL = "4x4", 64

_EPSILON = float(np.finfo(np.float32).eps)


def units(settings: Settings) -> list[Unit]:
    """Return a unit for the integers, one for each filter on the photograph, and one for the DCGAN."""
    photo = images.load(None, QUICK_SIDE if settings.quick else SIDE)
    return [
        Unit("integers", "integers", partial(integer_rows, settings.device)),
        *(
            Unit(
                f"photograph {case.label}",
                f"photograph, {case.label} filter",
                partial(photo_rows, case, settings.device),
            )
            for case in upsampling_cases(photo.pixels)
        ),
        Unit("DCGAN", "DCGAN", partial(network_rows, settings.device, 1 if settings.quick else SAMPLES)),
    ]


def ssim(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the structural similarity of two pictures in grey levels from 0 to 255, by one window: the whole."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    covariance = ((a - a.mean()) * (b - b.mean())).mean()
    means = (2 * a.mean() * b.mean() + c1) / (a.mean() ** 2 + b.mean() ** 2 + c1)
    return float(means * (2 * covariance + c2) / (a.var() + b.var() + c2))


def integer_rows(device: Device) -> list[Row]:
    """Return for each stride how many outputs differ from the definition, on integers."""
    draw = np.random.default_rng(SEED)
    rows = []
    for stride in STRIDES:
        errors = []
        for kernel, padded in product(KERNELS, (False, True)):
            lo, hi = (kernel // 2, (kernel - 1) // 2) if padded else (0, 0)
            options: dict[str, Any] = {
                "stride": stride,
                "padding": ((lo, hi), (hi, lo)),
                "output_padding": (stride - 1) * padded,
            }
            x = draw.integers(-4, 5, (2, 3, 5, 6)).astype(np.float32)
            weight = draw.integers(-4, 5, (3, 4, kernel, kernel)).astype(np.float32)
            made = cupy_kst.conv_transpose2d(device.put(x), device.put(weight), method="split", **options)
            errors.append(np.abs(device.get(made) - definition(x, weight, options)))
        rows.append(
            {
                "kind": "integers",
                "stride": stride,
                "method": "split",
                "least_kernel": KERNELS[0],
                "most_kernel": KERNELS[-1],
                "cases": len(errors),
                "outputs": sum(each.size for each in errors),
                "differing": sum(int(np.count_nonzero(each)) for each in errors),
                "max_abs_error": float(np.max([each.max() for each in errors])),
                "tolerance": 0.0,
            }
        )
    return rows


def photo_rows(case: Case, device: Device) -> list[Row]:
    """Return the rows of a photograph that is upsampled by one filter."""
    right = 255 * definition(case.input, case.weight, case.options)
    x, weight = device.put(case.input), device.put(case.weight)
    made = {
        method: 255 * np.asarray(device.get(cupy_kst.conv_transpose2d(x, weight, method=method, **case.options)), "f8")
        for method in METHODS
    }
    name = f"photograph, {case.label} filter"
    rows = list(_picture_rows(name, made, right, 255 * case.tolerance))
    return rows + list(_detail_rows(name, made["split"], right)) if case.label == SHOWN else rows


def network_rows(device: Device, samples: int) -> list[Row]:
    """Return the rows of the pictures that a DCGAN with random weights makes."""
    layers = network_layers.of("DCGAN")
    draw = np.random.default_rng(SEED).standard_normal
    first = layers[0].input_shape(samples)
    # Each layer keeps the variance of what it is given, so that the pictures have contrast.
    dense = draw((LATENT, int(np.prod(first[1:])))) / (SPREAD * LATENT**0.5)
    x = np.maximum(SPREAD * draw((samples, LATENT)) @ dense, 0).reshape(first).astype(np.float32)
    weights, biases = [], []
    for layer in layers:
        terms = layer.in_channels * np.prod(layer.kernel) / np.prod(layer.stride)
        weights.append((draw(layer.weight_shape) * (2 / terms) ** 0.5).astype(np.float32))
        biases.append((0.1 * draw(layer.out_channels)).astype(np.float32))

    def run(method: str) -> Pixels:
        y, last = device.put(x), len(layers) - 1
        for place, (layer, weight, bias) in enumerate(zip(layers, weights, biases, strict=True)):
            options = layer.options
            y = cupy_kst.conv_transpose2d(y, device.put(weight), device.put(bias), method=method, **options)
            y = device.xp.tanh(y) if place == last else device.xp.maximum(y, 0)
        return _grey(device.get(y))

    right, bound = _by_definition(x, [layer.options for layer in layers], weights, biases)
    made = {method: run(method) for method in METHODS}
    name = "DCGAN, random weights"
    return [*_picture_rows(name, made, _grey(right), bound), *_detail_rows(name, made["split"], _grey(right))]


def _by_definition(
    x: NDArray[Any], options: Sequence[dict[str, Any]], weights: Sequence[NDArray[Any]], biases: Sequence[NDArray[Any]]
) -> tuple[Pixels, float]:
    """Return what the layers make of `x` in float64, and how far, in grey levels, float32 may be from it.

    A bound that holds whatever the signs of the rounding errors be is thousands of grey levels after three layers. So
    they are taken as independent: their variance goes through the layers, and four standard deviations are the bound.
    """
    y, variance = np.asarray(x, np.float64), np.zeros(x.shape)
    for place, (option, weight, bias) in enumerate(zip(options, weights, biases, strict=True)):
        # Each of the additions rounds a partial sum, whose square is the sum of its terms' on average.
        squares = np.square(weight, dtype=np.float64)
        rounded = _EPSILON**2 * weight[:, 0].size * definition(y**2, squares, option)
        # ReLU and tanh make no error larger.
        variance = definition(variance, squares, option) + rounded
        y = definition(y, weight, option) + bias[:, None, None]
        y = np.tanh(y) if place == len(weights) - 1 else np.maximum(y, 0)
    # The last term: tanh and bias are rounded as well.
    return y, 127.5 * (4 * float(variance.max()) ** 0.5 + 4 * _EPSILON)


def _grey(tanh: NDArray[Any]) -> Pixels:
    """Return values from -1 to 1 as grey levels from 0 to 255."""
    return 127.5 * (tanh.astype(np.float64) + 1)


def _picture_rows(case: str, made: dict[str, NDArray[Any]], right: Pixels, tolerance: float) -> Iterator[Row]:
    """Return a row for each method's pictures, and one for the control."""
    for method, pictures in made.items():
        yield {"kind": "picture", "case": case, "method": method, **_measures(pictures, right), "tolerance": tolerance}
    yield {"kind": "picture", "case": case, "method": MOVED, **_measures(np.roll(right, 1, axis=-1), right)}


def _detail_rows(case: str, made: NDArray[Any], right: Pixels) -> Iterator[Row]:
    """Return the middle of the first picture for the chart: by definition, by split deconvolution, and the error."""
    top, left = ((size - DETAIL) // 2 for size in right.shape[2:])
    detail = (0, slice(None), slice(top, top + DETAIL), slice(left, left + DETAIL))
    error = np.abs(made - right)
    shown = {"definition": right[detail], "split": made[detail], "error": error[detail].max(axis=0)}
    for what, pixels in shown.items():
        largest = float(pixels.max())
        scaled = 255 * pixels / (largest or 1) if what == "error" else pixels
        yield {"kind": "detail", "case": case, "what": what, "largest": largest, "png": _png(scaled)}


def _measures(pictures: NDArray[Any], right: Pixels) -> Row:
    error = np.abs(pictures - right)
    return {
        "max_abs_error": float(error.max()),
        "mean_abs_error": float(error.mean()),
        "ssim": ssim(pictures, right),
        "visible": int(np.count_nonzero(error >= VISIBLE)),
        "values": right.size,
    }


def _bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)
    return levels


def _png(pixels: NDArray[Any]) -> str:
    """Return a picture, of channels first or without channels, as PNG in base 64."""
    data = BytesIO()
    Image.fromarray(_bytes(pixels if pixels.ndim == 2 else pixels.transpose(1, 2, 0))).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode("ascii")


PAPER = Paper(
    name="d_quality",
    source="D, arXiv 1907.01773",
    about=__doc__,
    units=units,
    sheets=sheets,
    draw=draw,
)
command = frame.command(PAPER)
