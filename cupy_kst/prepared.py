"""Weights prepared once for many calls."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from . import arrays, dispatch, dtypes, gpu
from .calls import check_arrays, check_bias
from .costs import Cost, OnCpu, count
from .dispatch import WeightCall
from .dtypes import Precision
from .explain import describe
from .geometry import AXES, Geometry
from .geometry.options import check_choice, is_sequence, shape_or_array
from .geometry.prepared import SMALLEST, PreparedGeometry
from .hints.words import bias_gradient
from .labels import DataFormat
from .methods import OPERATION_OF, Operation
from .problem import Choice, Problem
from .weight_cache import WeightCache

PreparedOp = Literal["conv_transpose", "conv", "conv_input", "conv_transpose_input"]
IntOrAxes = int | Sequence[int]

# Shapes of inputs that a prepared weight remembers.
_SHAPES = 256
# What errors call a weight that was prepared, which the caller does not pass.
_PREPARED = "the prepared weight"


def prepare(
    weight: Any,
    bias: Any = None,
    *,
    op: PreparedOp = "conv_transpose",
    stride: IntOrAxes = 1,
    padding: Any = 0,
    output_padding: IntOrAxes = 0,
    groups: int = 1,
    dilation: IntOrAxes = 1,
    output_size: IntOrAxes | None = None,
    method: str = "auto",
    form: str | None = None,
    data_format: DataFormat = "channels_first",
    precision: Precision = "ieee",
    dtype: Any = None,
) -> Prepared:
    """Prepare a weight for many calls with the same options, on inputs of any size.

    What a method makes of the weight alone is made once: the sub-filters of ``"ks_deconv"`` and ``"split"``, the filter
    of ``"conv_v2"``.

    Parameters
    ----------
    weight : numpy.ndarray or cupy.ndarray
        As `conv_transpose2d` and `conv2d` take it; its dimensions give the rank. It is copied.
    bias : array, optional
        Shape ``(out_channels,)``; gradients have none. It is copied.
    op : str
        ``"conv_transpose"``, ``"conv"``, or the gradient of either's input: ``"conv_input"`` or
        ``"conv_transpose_input"``, for which calls take the gradient of the output.
    stride, padding, output_padding, groups, dilation, method, data_format, precision
        As in `conv_transpose2d` and `conv2d`. For gradients they are those of the forward call, and `output_padding`
        are the rows at the end of the larger map that the sizes do not explain.
    output_size : int or sequence of int, optional
        Spatial size of the larger map, or its whole shape in the layout of `data_format`, in place of `output_padding`:
        of what ``"conv_transpose"`` and ``"conv_input"`` return, and of what ``"conv_transpose_input"`` reads;
        ``"conv"`` takes none. The channels, and for each call the batch, of a whole shape are those of the map.
    form : str, optional
        How the engine is to carry out `method`, which then is named: one of the forms that the error lists for any
        other name, and that `explain` shows, such as ``"f32/128x64"`` of ``"ks_deconv"`` on a GPU. Without it, calls
        choose by their shapes. Results are bitwise the same from run to run for the same method and form.
    dtype : dtype, optional
        Element type to convert the weight and the bias to, which inputs then must have.

    Returns
    -------
    Prepared

    Raises
    ------
    TypeError, ValueError
        As the call itself does.

    Examples
    --------
    >>> import numpy as np
    >>> from cupy_kst import conv_transpose2d, prepare
    >>> weight = np.ones((8, 4, 4, 4), np.float32)
    >>> upsample = prepare(weight, stride=2, padding=1)
    >>> x = np.ones((1, 8, 5, 7), np.float32)
    >>> np.array_equal(upsample(x), conv_transpose2d(x, weight, stride=2, padding=1))
    True
    """
    if isinstance(op, str) and op in ("conv_weight", "conv_transpose_weight"):
        rank = min(max(getattr(weight, "ndim", 4) - 2, 1), AXES)
        function = op.replace("_weight", f"{rank}d_weight")
        raise ValueError(f"op={op!r}: a weight's gradient has no weight to prepare: call grad.{function}")
    if hint := bias_gradient(op):
        raise ValueError(f"op={op!r}: there is no weight to prepare{hint}")
    check_choice("op", op, PreparedOp)
    check_choice("data_format", data_format, DataFormat)
    check_choice("precision", precision, Precision)
    return Prepared(
        weight,
        bias,
        op,
        {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "output_size": tuple(output_size) if is_sequence(output_size) else output_size,
            "groups": groups,
            "dilation": dilation,
        },
        method,
        form,
        data_format,
        precision,
        dtype,
    )


class _Weight(NamedTuple):
    """A weight, what was made of it, and its calls by the shape of their input."""

    array: Any
    cache: WeightCache
    calls: dict[tuple[int, ...], WeightCall]


class Prepared:
    """A weight with its options, ready for calls; what `prepare` returns. Calls from several threads are safe."""

    _weight: _Weight

    def __init__(
        self,
        weight: Any,
        bias: Any,
        op: PreparedOp,
        options: dict[str, Any],
        method: str,
        form: str | None,
        data_format: DataFormat,
        precision: Precision,
        dtype: Any,
    ) -> None:
        self._engine = arrays.engine_of({"bias": bias}, weight=weight)
        dtypes.common(weight=weight, bias=bias)
        if self._engine == "cupy":
            arrays.check_devices({"weight": weight, "bias": bias})
        self._dtype = dtypes.supported(weight.dtype if dtype is None else dtype)
        self._op, self._method, self._form = op, method, form
        self._operation: Operation = OPERATION_OF[op]
        self._options = options
        self._data_format, self._precision = data_format, precision
        if bias is not None and op not in get_args(Operation):
            raise ValueError(f"op={op!r}: a gradient of the input has no bias")
        self._bias = None if bias is None else arrays.copy_of(bias, self._dtype.storage)
        self._weight_shape = tuple(weight.shape)
        self._shapes = PreparedGeometry(op, self._weight_shape, options, data_format)
        self._set(weight)
        self._check()

    def __repr__(self) -> str:
        options = {**self._options, "method": self._method, "form": self._form, "data_format": self._data_format}
        settings = ", ".join(f"{name}={value!r}" for name, value in options.items() if value is not None)
        return f"<Prepared {self._op} in {self._dtype.name}: weight of shape {self._weight_shape}, {settings}>"

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have the weight alone, and make of it again what calls need."""
        return {**self.__dict__, "_weight": self._weight.array}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._weight = self._new(state["_weight"])

    def __call__(self, x: Any, out: Any = None, workspace: Any = None) -> Any:
        """Compute the operation of `x` by the prepared weight.

        Parameters
        ----------
        x : array
            The input, or for a gradient that of the output; of the weight's dtype and array module.
        out : array, optional
            Where to write the result: C-contiguous, of its shape and dtype, apart from `x` in memory.
        workspace : array of uint8, optional
            C-contiguous memory of at least ``workspace_bytes(x.shape)`` bytes, apart from `x` and `out`, used on a GPU
            in place of memory that the call would allocate; there its address is a multiple of 256, as that of every
            new array is. Calls at one time need one each.

        Returns
        -------
        array

        Raises
        ------
        TypeError, ValueError
            As `conv_transpose2d` and `conv2d` do, and if the workspace breaks one of its rules.
        """
        prepared = self._weight
        weight, _, calls = prepared
        kind = type(weight)
        # Nothing else needs to be looked at for arrays like the weight.
        if type(x) is not kind or x.dtype != weight.dtype or (out is not None and type(out) is not kind):
            check_arrays({"x": x, _PREPARED: weight}, out)
        shape = x.shape
        call = calls.get(shape) or self._bind(prepared, shape)
        if workspace is not None:
            arrays.engine_of({"workspace": workspace}, x=x)
        return call(x, out, workspace)

    def workspace_bytes(self, input_shape: Sequence[int]) -> int:
        """Return the bytes of device memory that a call on this shape takes beside its arrays; 0 on the CPU.

        This, `costs` and `explain` take the shape of `x` in the layout of ``data_format``, or such an array.
        """
        shape = self._shape("input_shape", input_shape)
        if call := self._weight.calls.get(shape):
            return call.workspace_bytes
        problem = self._problem(self._geometry(shape))
        return dispatch.workspace_bytes(self._engine, problem, self._choice(problem), self._weight.array)

    def costs(self, input_shape: Sequence[int]) -> dict[str, Cost]:
        """Return what `cupy_kst.costs` returns for a call on this shape, with the weight packed."""
        geometry = self._geometry(self._shape("input_shape", input_shape))
        return count(self._op, self._problem(geometry), self._on_cpu())

    def explain(self, input_shape: Sequence[int]) -> str:
        """Return what `cupy_kst.explain` returns for a call on this shape."""
        geometry = self._geometry(self._shape("input_shape", input_shape))
        device = None if self._engine == "numpy" else gpu.engine(self._weight.array.device.id).runtime.limits()
        problem = self._problem(geometry)
        return describe(self._op, problem, self._method, self._form, {self._engine: device}, self._on_cpu())

    def _on_cpu(self) -> OnCpu:
        """Return what the memory of calls on the CPU depends on: forms of a GPU are not of the CPU."""
        forms = {self._method: self._form} if self._engine == "numpy" and self._form is not None else {}
        return OnCpu(prepared=True, forms=forms)

    def update(self, weight: Any) -> None:
        """Take another weight of the same shape and array module, for the calls that begin from here on.

        It is packed by the first call on each shape, or by `compile`. A CUDA graph that captured calls goes on with the
        old weight, and with memory that is given back: capture it again.

        Raises
        ------
        TypeError, ValueError
            If the weight is of another shape, array module or dtype than that which was prepared.
        """
        engine = arrays.engine_of({}, weight=weight)
        if engine != self._engine or tuple(weight.shape) != self._weight_shape:
            raise ValueError(
                f"weight is a {engine} array of shape {tuple(weight.shape)}: prepared was a {self._engine} array of "
                f"shape {self._weight_shape}"
            )
        dtypes.common(**{"weight": weight, _PREPARED: self._weight.array})
        self._set(weight)

    def compile(self, shapes: Iterable[Sequence[int]]) -> None:
        """Do in advance what first calls on inputs of these shapes would do: compile kernels, pack the weight.

        On a GPU kernels are compiled in parallel threads and nothing is computed; later calls on C-contiguous inputs
        that are given `out`, and `workspace` where `workspace_bytes` is not 0, neither allocate nor wait, so that a
        CUDA graph may capture them.
        On the CPU the shapes are computed once.

        Raises
        ------
        TypeError, ValueError
            As calls do.
        """
        weight = self._weight
        if getattr(shapes, "ndim", 1) != 1:
            raise TypeError("shapes is an array: expected a sequence of shapes")
        each = [self._shape("each of shapes", shape) for shape in shapes]
        if self._engine == "numpy":
            for shape in each:
                self(np.zeros_like(weight.array, shape=shape))
        elif each:
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                for _ in pool.map(lambda shape: self._bind(weight, shape), each):
                    pass

    def _bind(self, weight: _Weight, shape: tuple[int, ...]) -> WeightCall:
        """Return the calls of a weight on inputs of one shape."""
        problem = self._problem(self._geometry(shape))
        call = dispatch.bind(self._engine, problem, self._choice(problem), weight.array, self._bias, weight.cache)
        if len(weight.calls) >= _SHAPES:
            weight.calls.clear()
        weight.calls[shape] = call
        return call

    def _set(self, weight: Any) -> None:
        own = arrays.copy_of(weight, self._dtype.storage, conjugate=self._op not in get_args(Operation))
        # One assignment, so that a call in another thread has a weight with what was made of it.
        self._weight = self._new(own)

    def _new(self, weight: Any) -> _Weight:
        """Return a weight that nothing was made of yet, and that calls on any stream may read."""
        return _Weight(weight, dispatch.store_for(self._engine, weight), {})

    def _check(self) -> None:
        """Raise what every call would raise, by resolving it on the smallest input."""
        geometry = self._shapes.of(self._shapes.smallest_input(), SMALLEST)
        check_bias(self._bias, geometry)
        problem = self._problem(geometry)
        choice = self._choice(problem)
        if self._method == "auto" and self._form is not None:
            raise ValueError(f"form={self._form!r}: forms are of one method; name it, too: method={choice.method!r}")
        dispatch.check_form(self._engine, problem, choice)

    def _shape(self, name: str, given: Any) -> tuple[int, ...]:
        """Return a shape of ``x``, or that of an array, or raise what a call on the array would raise."""
        if hasattr(given, "dtype") and getattr(given, "ndim", 1) != 1:
            check_arrays({"x": given, _PREPARED: self._weight.array}, None)
        return shape_or_array(name, given)

    def _geometry(self, input_shape: tuple[int, ...]) -> Geometry:
        geometry = self._shapes.of(input_shape)
        check_bias(self._bias, geometry)
        return geometry

    def _problem(self, geometry: Geometry) -> Problem:
        return Problem(self._operation, geometry, self._dtype, self._data_format == "channels_last", self._precision)

    def _choice(self, problem: Problem) -> Choice:
        return Choice.of(problem, self._engine, self._method, self._form)
