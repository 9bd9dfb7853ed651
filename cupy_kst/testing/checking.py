"""Check a function against the definition of an operation; the smallest failure becomes a program that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

from hypothesis import strategies as st

from ..geometry.options import whole_number
from ..methods import Op
from . import wording
from .arrays import examples, integer_arrays, real_arrays
from .axes import USUAL
from .judging import Numbers
from .layouts import LAYOUTS
from .program import name
from .restrictions import NAMES, LongAxis
from .runner import Runner
from .trial import Demand, Way

_OPTIONS = ("op", "dtypes", "max_examples", "ranks", "seed", "numbers", "max_error", "layouts", "threads", "quiet")


def check(
    fn: Callable[..., Any],
    *,
    op: Op = "conv_transpose",
    dtypes: Any = ("float32",),
    max_examples: int = 200,
    ranks: int | Sequence[int] = (1, 2, 3),
    seed: int = 0,
    numbers: Numbers = "integers",
    max_error: float = 1.0,
    layouts: str | Sequence[str] = ("contiguous", "fortran", "strided"),
    threads: int = 2,
    quiet: bool = False,
    **restrictions: Any,
) -> None:
    """Check a function against the definition of an operation, and report the smallest case in which it is wrong.

    Arrays hold small whole numbers, so the function must agree exactly, whatever its order of summation. Its result
    must have the element type of its arrays, and it must leave these as they are. One case in four is called again,
    with other numbers in the same arrays. About one case in six has a long axis; these come last. Then some cases are
    called from two threads at once. What was tried is printed.

    Parameters
    ----------
    fn : callable
        Called as ``fn(input, weight, bias, stride, padding, output_padding, groups, dilation)``, the signature of
        ``torch.nn.functional.conv_transpose2d``, for another `op` with that of ``torch.nn.functional.conv2d`` or
        ``torch.nn.grad``: with NumPy arrays (`bias` may be None) and options as tuples with one value per spatial axis;
        `padding` is one int, or one ``(lo, hi)``, per axis. Its result is anything that ``numpy.asarray`` takes. Cases
        for which it raises NotImplementedError are passed over.
    op : str
        ``"conv_transpose"``, ``"conv"``, or a gradient of either's input or weight: ``"conv_input"`` and so on.
    dtypes, ranks, **restrictions
        Which cases are drawn: the keywords of `cases`. ``padding="symmetric"`` suits a function that takes no pairs.
        `max_axis` is that of the cases with a long axis, 1100 if it is not given: past the edge of a block of 1024.
    max_examples : int
        Number of cases.
    seed : int
        The same seed draws the same cases.
    numbers : {"integers", "real"}
        ``"real"`` draws normally distributed numbers, to see how exact sums are. A sum of n products may be wrong by
        n + 2 places (eps) of the type that it is summed in, times the sum of its terms' absolute values: of float32 for
        16-bit elements, and once more by a place of their own. Complex sums have twice as many products, and those of
        64-bit numbers twice the bound, as the definition sums in such numbers as well.
    max_error : float
        Largest error of real numbers, in units of that bound; more than 1 suits a function that trades digits for
        speed, such as one by Winograd's transforms.
    layouts : str or sequence of str
        How arrays lie in memory: ``"contiguous"``, ``"fortran"``, or ``"strided"``, with gaps between elements.
    threads : {1, 2}
        1 calls the function from one thread alone.
    quiet : bool
        Whether to print nothing. Otherwise what was tried is printed at the end, and progress on standard error where a
        check takes long.

    Raises
    ------
    AssertionError
        If `fn` returns a wrong shape, element type or number, or raises (then that exception is its cause), or changes
        its arrays, or passes over nearly all cases. The message is a program that shows the smallest case found, and
        which options leave such cases out.
    ValueError, TypeError
        If an argument is not what it can be.

    Examples
    --------
    >>> import numpy as np
    >>> from cupy_kst.testing import check
    >>> def by_numpy(input, weight, bias, stride, padding, output_padding, groups, dilation):
    ...     zero_inserted = np.zeros((input.shape[-1] - 1) * stride[0] + 1, input.dtype)
    ...     zero_inserted[:: stride[0]] = input[0, 0]
    ...     return np.convolve(zero_inserted, weight[0, 0])[None, None]
    >>> simple = dict(ranks=1, batches=1, max_channels=1, max_groups=1, padding="none", output_padding=False)
    >>> check(by_numpy, max_dilation=1, bias=False, **simple)  # doctest: +ELLIPSIS
    by_numpy is right in 200 cases of conv_transpose: whole numbers, compared exactly
      ranks 1 (200); float32 (200)
      batches 1 (200); groups 1 (200)
      residue classes ..., ... of them without taps; largest axis 1..., kernel 5, stride 4, dilation 1, sum 5
      arrays contiguous (...), fortran (...), strided (...); second calls ...; from two threads at once 4
    >>> check(by_numpy, max_dilation=2, bias=False, **simple)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    AssertionError: by_numpy is wrong: its result has shape (1, 1, 2), expected (1, 1, 3)
    <BLANKLINE>
    import numpy as np
    from cupy_kst.cpu import reference
    <BLANKLINE>
    input = np.array([[[0]]], dtype="float32")
    weight = np.array([[[0, 0]]], dtype="float32")
    bias = None
    options = dict(stride=(1,), padding=(0,), output_padding=(0,), groups=1, dilation=(2,))
    expected = reference.conv_transpose(input, weight, bias, **options)
    got = by_numpy(input, weight, bias, *options.values())
    assert np.array_equal(got, expected), f"got\\n{got}\\nexpected\\n{expected}"
    <BLANKLINE>
    # max_dilation=1 leaves out a dilation: right in all ... cases without
    """
    if not callable(fn):
        raise TypeError(f"fn={fn!r}: expected a function, called as torch.nn.functional.conv_transpose2d is")
    wording.known_names("check", restrictions, (*_OPTIONS, *NAMES))
    wording.one_of("numbers", numbers, get_args(Numbers))
    quiet = wording.flag("quiet", quiet)
    arrays = real_arrays if numbers == "real" else integer_arrays
    max_axis = whole_number("max_axis", restrictions.pop("max_axis", 1100), 1)
    of_all = {"dtypes": dtypes, "ranks": ranks, **restrictions}
    some = [examples(arrays, op, **of_all, max_axis=min(max_axis, USUAL))]
    if max_axis > USUAL:
        long = get_args(LongAxis) if "long_axis" not in restrictions else (of_all.pop("long_axis"),)
        some += [examples(arrays, op, **of_all, max_axis=max_axis, long_axis=each) for each in long]
    ways = st.sampled_from(_ways(wording.several("layouts", layouts, _layout)))
    demand = Demand(numbers, _factor(max_error))
    runner = Runner(
        fn,
        [st.tuples(each, ways) for each in some],
        demand,
        whole_number("max_examples", max_examples, 1),
        whole_number("seed", seed, 0, 2**64),
        quiet,
    )
    tried = runner.run(at_once=whole_number("threads", threads, 1, 2) == 2)
    if not quiet:
        print(tried.summary(name(fn), op, demand))


def _layout(name: str, value: Any) -> str:
    wording.one_of(name, value, LAYOUTS)
    return str(value)


def _factor(max_error: Any) -> float:
    if isinstance(max_error, bool) or not isinstance(max_error, (int, float)):
        raise TypeError(f"max_error={max_error!r}: expected a number, got {type(max_error).__name__}")
    if not max_error > 0:
        raise ValueError(f"max_error={max_error!r}: must be above 0")
    return float(max_error)


def _ways(layouts: tuple[str, ...]) -> list[Way]:
    """Return ways to call a function, as often as each is drawn; the first is what failures shrink to."""
    first, *others = layouts
    return [
        *[Way(first, 1)] * 6,
        *[Way(first, 2)] * 2,
        *[Way(each, calls) for each in others for calls in (1, 1, 2)],
    ]
