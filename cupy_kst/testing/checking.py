"""Check a function against the definition of an operation; the smallest failure becomes a program that shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, errors, find, reject, settings
from numpy.typing import NDArray

from ..methods import Op
from .arrays import Arrays, arguments, examples
from .cases import OPERATIONS, Case


def check(
    fn: Callable[..., Any],
    *,
    op: Op = "conv_transpose",
    dtypes: Sequence[str] = ("float32",),
    max_examples: int = 200,
    ranks: Sequence[int] = (1, 2, 3),
    seed: int = 0,
    **restrictions: Any,
) -> None:
    """Check a function against the definition of an operation, and report the smallest case in which it is wrong.

    Arrays hold small whole numbers, so the function must agree exactly, whatever its order of summation.

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
    max_examples : int
        Number of cases.
    seed : int
        The same seed draws the same cases.

    Raises
    ------
    AssertionError
        If `fn` returns a wrong shape or number, or raises, or passes over nearly all cases. The message is a program
        that shows the smallest case found.

    Examples
    --------
    >>> import numpy as np
    >>> from cupy_kst.testing import check
    >>> def by_numpy(input, weight, bias, stride, padding, output_padding, groups, dilation):
    ...     zero_inserted = np.zeros((input.shape[-1] - 1) * stride[0] + 1)
    ...     zero_inserted[:: stride[0]] = input[0, 0]
    ...     return np.convolve(zero_inserted, weight[0, 0])[None, None]
    >>> simple = dict(ranks=(1,), batches=(1,), max_channels=1, max_groups=1, padding="none", output_padding=False)
    >>> check(by_numpy, max_dilation=1, bias=False, **simple)
    >>> check(by_numpy, max_dilation=2, bias=False, **simple)
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
    got = by_numpy(input, weight, bias, *options.values())
    expected = reference.conv_transpose(input, weight, bias, **options)
    assert np.array_equal(got, expected), f"got\\n{got}\\nexpected\\n{expected}"
    """
    given = examples(op=op, dtypes=dtypes, ranks=ranks, **restrictions)
    passed_over: list[Case] = []
    compared: list[Case] = []
    wrong: list[tuple[Case, Arrays]] = []

    def is_wrong(example: tuple[Case, Arrays]) -> bool:
        try:
            fault = _fault(fn, *example)
        except NotImplementedError:
            passed_over.append(example[0])
            reject()
        compared.append(example[0])
        if fault:
            wrong.append(example)
        return bool(fault)

    # All that a profile of the caller's could set.
    how = settings(
        max_examples=max_examples,
        derandomize=False,
        database=None,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        deadline=None,
        print_blob=False,
    )
    try:
        case, arrays = find(given, is_wrong, settings=how, random=Random(seed))
    except (errors.NoSuchExample, errors.Unsatisfiable):
        if len(passed_over) > 9 * len(compared):
            raise AssertionError(
                f"{_name(fn)} raised NotImplementedError in {len(passed_over)} of {len(passed_over) + len(compared)} "
                f"cases: restrict the cases to those that it supports, unlike {passed_over[-1]}"
            ) from None
        return
    except errors.Flaky:
        raise AssertionError(_program(fn, "it is not so whenever it is called again", *wrong[-1])) from None
    simplest = _simplest(fn, case, arrays)
    raise AssertionError(_program(fn, _fault(fn, case, simplest), case, simplest))


def _fault(fn: Callable[..., Any], case: Case, arrays: Arrays) -> str:
    """Return what is wrong with the result of `fn`, nothing if it is right."""
    expected = OPERATIONS[case.op].definition(**arguments(case, arrays), **case.options)
    copies = Arrays(*(None if array is None else array.copy() for array in arrays))
    try:
        got = np.asarray(fn(*arguments(case, copies).values(), *case.options.values()))
    except NotImplementedError:
        raise
    except Exception as error:
        return f"it raises {type(error).__name__}: {error}"
    if got.shape != expected.shape:
        return f"its result has shape {got.shape}, expected {expected.shape}"
    differing = np.argwhere(got != expected)
    if not len(differing):
        return ""
    first = tuple(map(int, differing[0]))
    return f"{len(differing)} of {got.size} outputs differ, the first at {first}: {got[first]}, not {expected[first]}"


def _simplest(fn: Callable[..., Any], case: Case, arrays: Arrays) -> Arrays:
    """Return the arrays with every element 0, else 1, else 1j, that need not be another for `fn` to be wrong."""
    for array in (each for each in arrays if each is not None):
        for place in np.ndindex(array.shape):
            for simpler in (0, 1, 1j) if np.iscomplexobj(array) else (0, 1):
                before = array[place]
                array[place] = simpler
                if before == simpler or _fault(fn, case, arrays):
                    break
                array[place] = before
    return arrays


def _program(fn: Callable[..., Any], fault: str, case: Case, arrays: Arrays) -> str:
    definition = OPERATIONS[case.op].definition
    package, _, module = definition.__module__.rpartition(".")
    importable = getattr(sys.modules.get(fn.__module__), _name(fn), None) is fn and fn.__module__ != "__main__"
    options = ", ".join(f"{name}={value!r}" for name, value in case.options.items())
    taken = arguments(case, arrays)
    lines = [
        f"{_name(fn)} is wrong: {fault}",
        "",
        "import numpy as np",
        f"from {package} import {module}",
        *([f"from {fn.__module__} import {_name(fn)}"] if importable else []),
        "",
        *(f"{name} = {_literal(value)}" for name, value in taken.items()),
        f"options = dict({options})",
        f"got = {_name(fn)}({', '.join(taken)}, *options.values())",
        f"expected = {module}.{definition.__name__}({', '.join(taken)}, **options)",
        r'assert np.array_equal(got, expected), f"got\n{got}\nexpected\n{expected}"',
    ]
    return "\n".join(lines)


def _name(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__name__", "")
    return name if name.isidentifier() else "fn"


def _literal(array: NDArray[Any] | tuple[int, ...] | None) -> str:
    if array is None or isinstance(array, tuple):
        return repr(array)
    if array.size == 0:
        return f'np.zeros({array.shape}, dtype="{array.dtype}")'
    whole = array if np.iscomplexobj(array) else array.astype(int)
    return f'np.array({whole.tolist()}, dtype="{array.dtype}")'
