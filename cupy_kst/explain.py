"""One readable text on what a call does: its shapes, its sub-kernels, the method it takes, and why not another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import cpu, dtypes
from .arrays import Engine
from .costs import Cost, count
from .dtypes import DType, Precision
from .geometry import Geometry
from .gpu.choice import needs_wide
from .gpu.device import REFERENCE, Device
from .gpu.engine import form_of, form_taken, tuned_form
from .gpu.target import Target
from .labels import DataFormat, shape_in_format
from .methods import OPERATION_OF, Method, Op, auto, choose, geometry_of, methods_of
from .options import check_choice

_MOST_SUB_KERNELS = 8


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
        Several lines, at most 120 characters wide where shapes are of usual length.

    Raises
    ------
    TypeError, ValueError
        As the call itself does.

    Notes
    -----
    Counts of work, and what a GPU would take, are those of an NVIDIA H200; `Prepared.explain` is of its own device.

    Examples
    --------
    >>> from cupy_kst import explain
    >>> print(explain((1, 256, 16, 16), (256, 128, 4, 4), stride=2, padding=1))  # doctest: +ELLIPSIS
    conv_transpose in float32: input (1, 256, 16, 16), weight (256, 128, 4, 4), output (1, 128, 32, 32)
    residue classes: 4, with sub-kernels of 2x2 taps
    CUDA (NVIDIA H200): ks_deconv/f32/128x64/split8, taken by "auto": matrix products without inserted zeros
    NumPy: ks_deconv/..., taken by "auto": matrix products without inserted zeros; unified ...
      zero_insertion   536.9 M MACs      1.3 MB workspace  2 launches  the baseline
      segregated       126.0 M MACs         0 B workspace  4 launches
      unified          126.0 M MACs         0 B workspace  1 launch
    * ks_deconv        134.2 M MACs      6.3 MB workspace  3 launches
      split            151.5 M MACs      2.7 MB workspace  3 launches
    useful: 126.0 M MACs of a tap and an input that both exist. Counts are those of the CUDA kernels.
    """
    check_choice("precision", precision, Precision)
    geometry = geometry_of(
        op, input_shape, weight_shape, stride, padding, output_padding, groups, dilation, output_size, data_format
    )
    element = dtypes.of_option(dtype, input_shape=input_shape, weight_shape=weight_shape)
    options = Options(method, None, data_format, precision)
    return describe(op, geometry, element, options, {"cupy": REFERENCE, "numpy": None})


class Options(NamedTuple):
    """Options of a call beside those that its geometry holds."""

    method: str
    form: str | None
    data_format: DataFormat
    precision: Precision
    prepared: bool = False


def describe(
    op: Op, geometry: Geometry, element: DType, options: Options, engines: Mapping[Engine, Device | None]
) -> str:
    """Return the text of `explain` for a call whose shapes are settled, with its forms on `engines`."""
    method, precision = options.method, options.precision
    operation, found = OPERATION_OF[op], count(op, geometry, element)
    taken = {engine: choose(method, operation, geometry, engine) for engine in engines}

    def choice(engine: Engine, device: Device | None) -> str:
        name = taken[engine].name
        reason = f'taken by "auto": {auto(operation, geometry, engine).reason}' if method == "auto" else "as asked for"
        return f"{_where(device)}: {name}/{_form(name, geometry, element, options, device)}, {reason}"

    given, made = (
        shape_in_format(shape, geometry.rank, options.data_format)
        for shape in (geometry.input_shape, geometry.output_shape)
    )
    lines = [
        f"{op} in {element.name}: input {given}, weight {geometry.weight_shape}, output {made}",
        *([_sub_kernels(geometry)] if operation == "conv_transpose" else []),
        *(choice(engine, device) for engine, device in engines.items()),
        *(_line(each, geometry, found.get(name), each in taken.values()) for name, each in methods_of(op).items()),
        f"useful: {_scaled(next(iter(found.values())).useful_macs)} MACs of a tap and an input that both exist. "
        "Counts are those of the CUDA kernels.",
    ]
    if precision != "ieee" and element.name == "float32" and "numpy" in engines:
        lines.append(f"precision {precision}: allowed, but NumPy computes as ieee")
    return "\n".join(lines)


def _form(method: str, geometry: Geometry, element: DType, options: Options, device: Device | None) -> str:
    form, last = options.form, options.data_format == "channels_last"
    if device is None:
        return form or cpu.form_names(method, geometry, element, options.prepared)[0]
    if form is None:
        pinned = tuned_form(method, geometry, element, device, last, options.precision)
    else:
        pinned = form_of(method, element, form, options.precision, last)
    taken = form_taken(method, geometry, Target(element, device, needs_wide(geometry), last, pinned, options.precision))
    return f"{taken}, tuned" if form is None and pinned is not None else taken


def _where(device: Device | None) -> str:
    return "NumPy" if device is None else f"CUDA ({device.name})"


def _sub_kernels(geometry: Geometry) -> str:
    number = len(geometry.classes)
    sizes = Counter("x".join(str(one.taps) for one in list(classes)[-geometry.rank :]) for classes in geometry.classes)
    if len(sizes) == 1:
        return f"residue classes: {number}, with sub-kernels of {next(iter(sizes))} taps"
    shown = [f"{size} taps ({times} of them)" for size, times in sizes.most_common(_MOST_SUB_KERNELS)]
    more = ", ..." if len(sizes) > _MOST_SUB_KERNELS else ""
    return f"residue classes: {number}, with sub-kernels of {', '.join(shown)}{more}"


def _line(method: Method, geometry: Geometry, cost: Cost | None, taken: bool) -> str:
    start = f"{'*' if taken else ' '} {method.name:15}"
    if cost is None:
        return f"{start}cannot: {method.supports(geometry)[1]}"
    launches = f"{cost.launches:,} launch{'' if cost.launches == 1 else 'es'}"
    note = "" if method.paper else "the baseline"
    work, workspace = f"{_scaled(cost.macs)} MACs", f"{_scaled(cost.workspace_bytes, 'B')} workspace"
    return f"{start}{work:>14}{workspace:>22}  {launches:12}{note}".rstrip()


def _scaled(number: int, unit: str = "") -> str:
    """Return a number with its unit, in thousands, millions and so on."""
    if number < 1000:
        return f"{number} {unit}".rstrip()
    scaled, prefixes = float(number), iter("kMGTPE")
    while scaled >= 1000:
        scaled, prefix = scaled / 1000, next(prefixes)
    return f"{scaled:.1f} {prefix}{unit}"
