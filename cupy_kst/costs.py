"""What a call multiplies, stores and launches, counted from shapes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from . import cpu, dtypes
from .gpu.counts import valid_macs
from .gpu.methods import REGISTRY
from .labels import DataFormat
from .methods import OPERATION_OF, Op, Role, geometry_of, methods_of
from .problem import Choice, Problem


@dataclass(frozen=True)
class Cost:
    """The work of one call by one method; multiplications are multiply-adds, of complex numbers as of real ones.

    Attributes
    ----------
    nominal_macs : int
        The papers' count: output positions times the taps that the method gives each, borders and, for split, the
        expansion zeros of the filter counted in full.
    useful_macs : int
        Products of a filter element and an input that both exist and land on an output: the same for every method.
    macs : int
        What the CUDA kernels of the method multiply, less what fills up their last tiles. For split, expansion zeros
        and the padding of its convolution among it, and more than `nominal_macs` where outputs are cropped: all
        sub-filters are computed at each of their positions. A 4x4 filter with stride 2 and padding 1 takes ``in + 1``
        positions of each axis, of which the first and the last are cropped by half; the paper counts ``in``. So the
        four layers of GP-GAN, nominally 103.8 M, really take 136.1 M.
    workspace_bytes : int
        Device memory that they need beside input, weight and output; for zero_insertion the whole zero-inserted,
        padded map, for split the sub-filters and the outputs that are to be interleaved. For ks_deconv and
        conv_v2 the filter as their tiles read it, for these and sk_dilated the split sums, where an H200 splits.
    launches : int
        CUDA kernels launched.
    extra_threads : int or None
        Output elements of the launch grids that fall outside the output. Split computes them, and crops them; the
        other methods do not. None for methods that compute in tiles.
    cpu_form : str or None
        The form in which the CPU carries the method out; None where a map or the weight has more than 2**33 elements,
        for which the CPU plans nothing before it is called.
    cpu_workspace_bytes : int or None
        The most memory that it holds at once beside input, weight and output, with as many threads as calls take here:
        copies in the type that it computes in, channels first and in native byte order, of arrays that are not so; the
        weight as it is packed, unless it is prepared; borders, blocks, and what threads keep for their next call. Not
        counted are numbers that an array operation of NumPy buffers (8192 of each operand), what its BLAS holds, and
        tables that the first call of a shape makes. Weights that are not finite may take more, and arrays that are not
        C-contiguous a copy each.
    """

    nominal_macs: int
    useful_macs: int
    macs: int
    workspace_bytes: int
    launches: int
    extra_threads: int | None
    cpu_form: str | None
    cpu_workspace_bytes: int | None


def costs(
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
    data_format: DataFormat = "channels_first",
    dtype: Any = None,
) -> dict[str, Cost]:
    """Return the cost of a call by every method that supports it.

    Parameters
    ----------
    input_shape, weight_shape : sequence of int or array
        Shapes as `conv_transpose2d` and `conv2d` take them, of any rank, or arrays of such shapes; for a gradient those
        of the forward call.
    op : str
        ``"conv_transpose"``, ``"conv"``, or a gradient of either's input or weight: ``"conv_input"``,
        ``"conv_weight"``, ``"conv_transpose_input"`` or ``"conv_transpose_weight"``.
    stride, padding, output_padding, groups, dilation, output_size
        As in `conv_transpose2d`; a convolution takes no output padding and no output size.
    data_format : {"channels_first", "channels_last"}
        Layout of `input_shape`, and of a whole shape as `output_size`; on a GPU a call's cost does not depend on it.
    dtype : dtype, optional
        Element type of the arrays; without it that of those which are given, or float32 for shapes.

    Returns
    -------
    dict of str to Cost
        By the name of the method.

    Raises
    ------
    TypeError, ValueError
        As the call itself does.

    Examples
    --------
    A 4x4 filter with stride 2 leaves a quarter of the work that zeros would make, less what its taps miss at borders:

    >>> from cupy_kst import costs
    >>> found = costs((1, 1, 4, 4), (1, 1, 4, 4), stride=2, padding=1)
    >>> found["unified"].useful_macs / found["zero_insertion"].nominal_macs
    0.19140625

    On the CPU the baseline holds the map with zeros, and others a block of it at most:

    >>> found = costs((1, 8, 512, 512), (8, 8, 4, 4), stride=2, padding=1)
    >>> found["zero_insertion"].cpu_workspace_bytes > 4 * found["unified"].cpu_workspace_bytes
    True
    """
    geometry = geometry_of(
        op, input_shape, weight_shape, stride, padding, output_padding, groups, dilation, output_size, data_format
    )
    element = dtypes.of_option(dtype, input_shape=input_shape, weight_shape=weight_shape)
    problem = Problem(OPERATION_OF[op], geometry, element, data_format == "channels_last")
    return count(op, problem, OnCpu.of_option(dtype, input_shape, weight_shape))


class OnCpu(NamedTuple):
    """What the memory of a call on the CPU depends on beside its problem.

    Attributes
    ----------
    prepared, swapped : bool
        As `cpu.memory` has them.
    forms : mapping of str to str
        The forms that are asked for, by method.
    """

    prepared: bool = False
    swapped: bool = False
    forms: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def of_option(cls, dtype: Any, *given: Any) -> OnCpu:
        """Return it for an unprepared call of arrays, or of a dtype and shapes."""
        elements = [each.dtype for each in given if hasattr(each, "dtype")] if dtype is None else [np.dtype(dtype)]
        return cls(swapped=not all(each.isnative for each in elements))


# A complex gradient copies the conjugate of this array. A prepared weight is conjugated before any call.
_CONJUGATED: dict[Op, Role] = {
    "conv_input": "weight",
    "conv_weight": "small",
    "conv_transpose_input": "weight",
    "conv_transpose_weight": "small",
}


def count(op: Op, problem: Problem, on_cpu: OnCpu) -> dict[str, Cost]:
    """Return the cost of every method that supports a problem, which a public operation poses."""
    geometry, dtype = problem.geometry, problem.dtype
    conjugated = None if on_cpu.prepared or dtype.compute.kind != "c" else _CONJUGATED.get(op)
    useful = valid_macs(geometry)
    largest = max(map(prod, (geometry.full_small_shape, geometry.full_large_shape, geometry.full_weight_shape)))

    def cost(name: str) -> Cost:
        form, workspace = None, None
        if largest <= _MOST_ON_CPU:
            form, workspace = cpu.memory(
                problem,
                Choice(name, on_cpu.forms.get(name)),
                prepared=on_cpu.prepared,
                swapped=on_cpu.swapped,
                conjugated=conjugated,
            )
        counts = REGISTRY[name].counts(geometry, dtype)
        return Cost(useful_macs=useful, cpu_form=form, cpu_workspace_bytes=workspace, **counts._asdict())

    return {name: cost(name) for name, method in methods_of(op).items() if method.supports(geometry)[0]}


# Elements of an array for which memory of the CPU is planned: plans have a row for each block of a map.
_MOST_ON_CPU = 1 << 33
