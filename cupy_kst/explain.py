"""One readable text on what a call does: its shapes, its sub-kernels, the method it takes, and why not another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice, product
from math import prod
from textwrap import wrap
from typing import Any

from . import dtypes
from .arrays import Engine
from .costs import Cost, OnCpu, count
from .dtypes import Precision
from .geometry import Axis, AxisClass, Geometry
from .geometry.options import check_choice
from .gpu.engine import form_taken, tuned_form
from .gpu.select.device import REFERENCE, Device
from .labels import DataFormat, shape_in_format
from .methods import OPERATION_OF, Method, Op, auto, geometry_of, methods_of
from .problem import Choice, Problem

# Sizes of sub-kernels, and classes, that are told.
_MOST_SUB_KERNELS = 8
_WIDTH = 100
# A space at which no line ends.
_FIXED = "\N{NO-BREAK SPACE}"
_ENGINES: dict[Engine, str] = {"cupy": "CUDA", "numpy": "NumPy"}
_HEADINGS = (
    f"{'':14}{'on CUDA:':>10}{'':21}{'on NumPy:':>11}",
    f"{'method':14}{'MACs':>10}{'workspace':>11}{'launches':>10}{'workspace':>11}  form",
)


def explain(
    input_shape: Sequence[int] | Any,
    weight_shape: Sequence[int] | Any,
    *,
    op: Op = "conv_transpose",
    stride: int | Sequence[int] = 1,
    padding: Any = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    output_size: int | Sequence[int] | None = None,
    method: str = "auto",
    data_format: DataFormat = "channels_first",
    precision: Precision = "ieee",
    dtype: Any = None,
) -> str:
    """Return a text on what a call does: the method taken and why, the others, sub-kernels, work and memory.

    Parameters
    ----------
    input_shape, weight_shape, op, stride, padding, output_padding, groups, dilation, output_size, dtype
        As in `costs`.
    method : str
        The method that the call names.
    data_format : {"channels_first", "channels_last"}
        Layout of the maps, in which their shapes are given and shown.
    precision : str
        As in `conv_transpose2d`.

    Returns
    -------
    str
        Several lines, at most 100 characters wide: the shapes, the residue classes of a transposed convolution with
        their sub-kernels, what each engine takes and why, and what each method costs. A sub-kernel is told by its taps
        and its outputs, as Python slices along the axes.

    Raises
    ------
    TypeError, ValueError
        As the call itself does.

    Notes
    -----
    Counts of work, and what a GPU would take, are those of an NVIDIA H200; `Prepared.explain` is of its own device.
    The workspace on the CPU is `Cost.cpu_workspace_bytes`, with as many threads as calls take here.

    Examples
    --------
    >>> from cupy_kst import explain
    >>> print(explain((1, 256, 16, 16), (256, 128, 4, 4), stride=2, padding=1))  # doctest: +ELLIPSIS
    conv_transpose in float32: input (1, 256, 16, 16), weight (256, 128, 4, 4), output (1, 128, 32, 32)
    residue classes: 4, with sub-kernels of 2x2 taps
      class: (output + padding) % stride on each axis
      class (1, 1): 2x2 taps [1::2, 1::2] of the filter make outputs [0::2, 0::2]
      class (1, 0): 2x2 taps [1::2, 0::2] of the filter make outputs [0::2, 1::2]
      class (0, 1): 2x2 taps [0::2, 1::2] of the filter make outputs [1::2, 0::2]
      class (0, 0): 2x2 taps [0::2, 0::2] of the filter make outputs [1::2, 1::2]
    CUDA (NVIDIA H200): ks_deconv/f32/128x64/split8, taken by "auto": matrix products without inserted
      zeros
    NumPy: ks_deconv/..., taken by "auto": matrix products without inserted zeros; unified ...
                    on CUDA:                       on NumPy:
    method              MACs  workspace  launches  workspace  form
    zero_insertion   536.9 M     1.3 MB         2     7.7 MB  numpy_im2col       baseline
    segregated       126.0 M        0 B         4     2.0 MB  numpy_im2col
    unified          126.0 M        0 B         1     2.1 MB  numpy_col2im
    ks_deconv        134.2 M     6.3 MB         3 ...
    split            151.5 M     2.7 MB         3     6.7 MB  numpy_im2col
    useful: 126.0 M MACs of a tap and an input that both exist
    workspace: the most memory beside input, weight and output
    """
    check_choice("precision", precision, Precision)
    geometry = geometry_of(
        op, input_shape, weight_shape, stride, padding, output_padding, groups, dilation, output_size, data_format
    )
    element = dtypes.of_option(dtype, input_shape=input_shape, weight_shape=weight_shape)
    problem = Problem(OPERATION_OF[op], geometry, element, data_format == "channels_last", precision)
    on_cpu = OnCpu.of_option(dtype, input_shape, weight_shape)
    return describe(op, problem, method, None, {"cupy": REFERENCE, "numpy": None}, on_cpu)


def describe(
    op: Op,
    problem: Problem,
    method: str,
    form: str | None,
    engines: Mapping[Engine, Device | None],
    on_cpu: OnCpu,
) -> str:
    """Return the text of `explain` for a problem, and for the method and form that a caller names, on `engines`."""
    geometry, element, operation = problem.geometry, problem.dtype, problem.operation
    found = count(op, problem, on_cpu)
    choices = {engine: Choice.of(problem, engine, method, form) for engine in engines}

    def choice(engine: Engine, device: Device | None) -> str:
        name = choices[engine].method
        reason = f'taken by "auto": {auto(operation, geometry, engine).reason}' if method == "auto" else "as asked for"
        taken = found[name].cpu_form if device is None else _form(problem, choices[engine], device)
        return f"{_where(device)}: {name if taken is None else f'{name}/{taken}'}, {reason}"

    def line(each: Method) -> str:
        takers = [_ENGINES[engine] for engine in engines if choices[engine].method == each.name]
        return _line(each, geometry, found.get(each.name), takers)

    given, made = (
        shape_in_format(shape, geometry.rank, problem.data_format)
        for shape in (geometry.input_shape, geometry.output_shape)
    )
    shapes = {"input": given, "weight": geometry.weight_shape, "output": made}
    # A prepared gradient's geometry has what its call reads as the input.
    own = operation == ("conv_transpose" if geometry.transposed else "conv")
    forward = "" if own else ", of the forward call"
    # No line ends within a shape.
    named = (f"{name} {shape}".replace(" ", _FIXED) for name, shape in shapes.items())
    useful = next(iter(found.values())).useful_macs
    lines = [
        f"{op} in {element.name}{forward}: {', '.join(named)}",
        *(_sub_kernels(geometry) if operation == "conv_transpose" else []),
        *(choice(engine, device) for engine, device in engines.items()),
        *_HEADINGS,
        *map(line, methods_of(op).values()),
        f"useful: {_scaled(useful)} MAC{'' if useful == 1 else 's'} of a tap and an input that both exist",
        "workspace: the most memory beside input, weight and output",
    ]
    if "cupy" not in engines:
        lines.append(f"on CUDA: as {REFERENCE.name} would take it")
    if problem.precision != "ieee" and element.name == "float32" and "numpy" in engines:
        lines.append(f"precision {problem.precision}: allowed, but NumPy computes as ieee")
    return "\n".join(map(_wrapped, lines))


def _wrapped(line: str) -> str:
    """Return a line as several of at most `_WIDTH` characters, all but the first indented more."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    found = wrap(line, _WIDTH, subsequent_indent=indent, break_on_hyphens=False) if len(line) > _WIDTH else [line]
    return "\n".join(found).replace(_FIXED, " ")


def _form(problem: Problem, choice: Choice, device: Device) -> str:
    taken = form_taken(problem, choice, device)
    is_tuned = choice.form is None and tuned_form(choice.method, problem, device) is not None
    return f"{taken}, tuned" if is_tuned else taken


def _where(device: Device | None) -> str:
    return "NumPy" if device is None else f"CUDA ({device.name})"


def _sub_kernels(geometry: Geometry) -> list[str]:
    """Return lines on the residue classes: how many taps they have, and which of the filter are whose."""
    axes = geometry.axes[-geometry.rank :]
    number = geometry.class_count
    sizes: dict[tuple[int, ...], int] = {(): 1}
    for axis in axes:
        times = Counter(one.taps for one in axis.classes)
        sizes = {(*size, taps): sizes[size] * times[taps] for size in sizes for taps in times}
    classes = islice(product(*(axis.classes for axis in axes)), _MOST_SUB_KERNELS)
    lines = [
        f"residue classes: {number:,}, with sub-kernels of {_sizes_shown(sizes)}",
        "  class: (output + padding) % stride on each axis",
        *(_class(axes, each) for each in classes),
    ]
    return lines if number <= _MOST_SUB_KERNELS else [*lines, f"  ... and {number - _MOST_SUB_KERNELS:,} more"]


def _sizes_shown(sizes: Mapping[tuple[int, ...], int]) -> str:
    """Return the sizes of sub-kernels with how many classes have each, those without taps as one, at the end."""
    some = Counter({size: times for size, times in sizes.items() if all(size)})
    each = [(_taps(size), times) for size, times in some.most_common(_MOST_SUB_KERNELS)]
    rest = ["..."] * (len(some) > _MOST_SUB_KERNELS)
    none = sum(times for size, times in sizes.items() if not all(size))
    if len(some) + (none > 0) == 1:
        return each[0][0] if each else "no taps"
    return ", ".join([f"{taps} ({times:,})" for taps, times in each] + rest + [f"no taps ({none:,})"] * (none > 0))


def _taps(size: Sequence[int]) -> str:
    return f"{'x'.join(map(str, size))} tap{'' if prod(size) == 1 else 's'}"


def _class(axes: Sequence[Axis], classes: Sequence[AxisClass]) -> str:
    """Return which taps one class has, and which outputs they make."""
    name = f"  class ({', '.join(str(one.residue) for one in classes)}):"
    outputs = ", ".join(f"{one.first}::{axis.stride}" for axis, one in zip(axes, classes, strict=True))
    if not all(one.taps for one in classes):
        return f"{name} no taps, so that outputs [{outputs}] are the bias alone"
    taps = ", ".join(f"{one.first_tap}::{axis.tap_step}" for axis, one in zip(axes, classes, strict=True))
    return f"{name} {_taps([one.taps for one in classes])} [{taps}] of the filter make outputs [{outputs}]"


def _line(method: Method, geometry: Geometry, cost: Cost | None, takers: Sequence[str]) -> str:
    if cost is None:
        return f"{method.name:14}  cannot: {method.supports(geometry)[1]}"
    macs, workspace = _scaled(cost.macs), _scaled(cost.workspace_bytes, "B")
    on_cpu = "-" if cost.cpu_workspace_bytes is None else _scaled(cost.cpu_workspace_bytes, "B")
    numbers = f"{macs:>10}{workspace:>11}{cost.launches:>10,}{on_cpu:>11}"
    taken = f"taken by {'both' if len(takers) > 1 else takers[0]}" if takers else ""
    notes = ", ".join(note for note in ("" if method.paper else "baseline", taken) if note)
    return f"{method.name:14}{numbers}  {cost.cpu_form or '-':17}  {notes}".rstrip()


def _scaled(number: int, unit: str = "") -> str:
    """Return a number with its unit, in thousands, millions and so on."""
    if number < 1000:
        return f"{number} {unit}".rstrip()
    scaled, prefixes = float(number), iter("kMGTPE")
    while scaled >= 1000:
        scaled, prefix = scaled / 1000, next(prefixes)
    return f"{scaled:.1f} {prefix}{unit}"
