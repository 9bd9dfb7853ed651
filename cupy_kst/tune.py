"""The search for the fastest form of a call on the GPU at hand."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from . import dtypes
from .dtypes import Precision
from .geometry.options import check_choice, shape_or_array
from .gpu.tuning.search import Tuning
from .install import from_extra
from .labels import DataFormat
from .methods import OPERATION_OF, Op, geometry_of
from .problem import Choice, Problem


def tune(
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
) -> Tuning:
    """Find the fastest form of a method for one call, by timing all on the current GPU; later calls take it.

    Without tuning an estimate chooses the form, as `explain` shows. Every form computes whole numbers, and is left out
    with a warning unless they are those of the method with a thread per output; then it is timed on as many copies of
    its arrays as do not fit the L2 cache, weights packed beforehand. The estimate's form is kept unless another takes
    at least 2 percent less time. All methods but ``"ks_deconv"``, ``"conv_v2"`` and ``"sk_dilated"`` have one form,
    which is timed as well, but not kept; ``"auto"`` takes such a method for groups of few channels.

    What was found is kept in ``cupy_kst/tuned-1.json`` in ``$XDG_CACHE_HOME``, or in ``~/.cache``, for the same device
    model, CUDA text, shapes, options, dtype, precision and layout. Several processes may tune at once; a running one
    reads the file once. Calls take from it the form of the same method, never another method, unless
    ``CUPY_KST_TUNED=0`` is set or `prepare` pins a form. Prepared weights keep what they took for the shapes they have
    seen. Results of two forms may differ in the rounding of sums.

    Parameters
    ----------
    input_shape, weight_shape, op, stride, padding, output_padding, groups, dilation, output_size, dtype
        As in `costs`.
    method : str
        The method whose forms are tried; ``"auto"`` is the one that calls take then.
    data_format : {"channels_first", "channels_last"}
        Layout of the maps, in which their shapes are given.
    precision : str
        As in `conv_transpose2d`.

    Returns
    -------
    Tuning
        With the attributes `method`, `form`, `estimated` (the form without tuning), and `seconds` by form, the least
        first.

    Raises
    ------
    TypeError, ValueError
        As the call itself does, or if it is of an empty batch.
    RuntimeError
        If there is no usable GPU, or filelock is missing (the extra ``tune``).

    Examples
    --------
    >>> from cupy_kst import tune
    >>> found = tune((1, 256, 16, 16), (256, 128, 4, 4), stride=2, padding=1, method="ks_deconv")  # doctest: +SKIP
    >>> print(f"{found.form} for {found.estimated}: {found.seconds}")  # doctest: +SKIP
    """
    check_choice("precision", precision, Precision)
    geometry = geometry_of(
        op, input_shape, weight_shape, stride, padding, output_padding, groups, dilation, output_size, data_format
    )
    element = dtypes.of_option(dtype, input_shape=input_shape, weight_shape=weight_shape)
    problem = Problem(OPERATION_OF[op], geometry, element, data_format == "channels_last", precision)
    chosen = Choice.of(problem, "cupy", method)
    if geometry.samples == 0:
        shape = shape_or_array("input_shape", input_shape)
        raise ValueError(f"input_shape={shape}: a call on an empty batch launches nothing")
    from . import gpu
    from .gpu.build.runtime import load_cupy
    from .gpu.tuning import tuned_forms
    from .gpu.tuning.search import search
    from .gpu.tuning.timer import CuPyTimer

    if find_spec("filelock") is None:
        raise RuntimeError(f"tune needs filelock: {from_extra('tune', 'filelock')}")
    try:
        cupy = load_cupy()
    except RuntimeError as error:
        raise RuntimeError(f"{error}; explain shows the estimate without one") from error
    engine = gpu.engine(cupy.cuda.runtime.getDevice())
    return search(engine, CuPyTimer(cupy), tuned_forms.store(), problem, chosen.method)
