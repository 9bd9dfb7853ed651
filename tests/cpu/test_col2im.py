"""Products merged where they lie against the definition: of whole maps and in strips, by one thread and by several."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cupy_kst import Geometry, cpu, prepare
from cupy_kst.cpu import col2im, parallel, reference
from cupy_kst.methods import Role
from cupy_kst.problem import Choice
from tests.support.problems import problem_of

Options = dict[str, Any]

# (input, weight, options): classes of one to four taps, of unequal numbers of them, and of none.
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], Options]] = {
    "4x4, stride 2": ((2, 3, 7, 5), (3, 2, 4, 4), {"stride": 2, "padding": 1}),
    "5x5, stride 2": ((1, 3, 6, 7), (3, 2, 5, 5), {"stride": 2, "padding": 2, "output_padding": 1}),
    "3x3, stride 1": ((1, 2, 9, 4), (2, 3, 3, 3), {"padding": 1}),
    "7x7, stride 1": ((1, 2, 12, 3), (2, 2, 7, 7), {"padding": 3}),
    "2x2, stride 2": ((1, 3, 6, 5), (3, 2, 2, 2), {"stride": 2}),
    "2x2, stride 3": ((1, 3, 6, 5), (3, 2, 2, 2), {"stride": 3}),
    "6x9, stride 3": ((1, 2, 7, 6), (2, 2, 6, 9), {"stride": 3, "padding": (2, 3)}),
    "stride 1, dilation 3": ((1, 2, 9, 5), (2, 2, 3, 3), {"padding": 3, "dilation": 3}),
    "stride 2, dilation 2": ((1, 2, 9, 8), (2, 2, 3, 3), {"stride": 2, "padding": 2, "dilation": 2}),
    "a line": ((2, 4, 30), (4, 3, 8), {"stride": 4, "padding": 2}),
    "a volume": ((1, 2, 6, 4, 5), (2, 2, 4, 4, 4), {"stride": 2, "padding": 1}),
    "one row": ((1, 2, 1, 11), (2, 2, 1, 4), {"stride": (1, 2), "padding": (0, 1)}),
    "groups": ((2, 6, 8, 5), (6, 2, 4, 4), {"stride": 2, "padding": 1, "groups": 3}),
    "depthwise": ((2, 5, 9, 8), (5, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 5}),
}


@pytest.fixture
def _fresh() -> Iterator[None]:
    """Plans depend on the sizes of blocks."""

    def forget() -> None:
        for kept in (col2im.plan, col2im._one_strip):
            kept.cache_clear()
        col2im._memory.__dict__.clear()

    forget()
    yield
    forget()


def drawn(name: str, dtype: str = "float32") -> tuple[Any, Any, Any, Options]:
    input_shape, weight_shape, options = CASES[name]
    draw = np.random.default_rng(0).integers
    channels = weight_shape[1] * options.get("groups", 1)
    shapes = (input_shape, weight_shape, (channels,))
    return (*(draw(-3, 4, shape).astype(dtype) for shape in shapes), options)


def computed(x: Any, w: Any, bias: Any, options: Options) -> Any:
    geometry = Geometry.conv_transpose(x.shape, w.shape, **options)
    out = np.full(geometry.output_shape, np.nan, x.dtype)
    given: dict[Role, Any] = {"small": x, "weight": w, "bias": bias, "large": out}
    cpu.run(problem_of("unified", geometry, x.dtype.name), Choice("unified"), given)
    return out


def poisoned(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return memory that is not a number: what it held before must not matter."""
    return np.full(shape, np.nan, dtype)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("bytes_", [2 << 20, 4000, 900, 1])
@pytest.mark.parametrize("name", CASES)
def test_strips_and_blocks_of_any_size_give_the_definition(
    name: str, bytes_: int, with_bias: bool, dtype: str, monkeypatch: pytest.MonkeyPatch, _fresh: None
) -> None:
    x, w, bias, options = drawn(name, dtype)
    monkeypatch.setattr(col2im, "PRODUCT_BYTES", bytes_)
    monkeypatch.setattr(col2im, "_workspace", poisoned)
    how = col2im.plan(Geometry.conv_transpose(x.shape, w.shape, **options), x.itemsize)
    assert how is not None
    # One byte makes strips of one step, two megabytes one strip.
    size = how.sizes[how.outer]
    assert how.strip == {1: 1, 2 << 20: size}.get(bytes_, how.strip)
    found = computed(x, w, bias if with_bias else None, options)
    np.testing.assert_array_equal(found, reference.conv_transpose(x, w, bias if with_bias else None, **options))


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("bytes_", [2 << 20, 3000, 1])
@pytest.mark.parametrize("name", CASES)
def test_samples_share_a_product_or_have_one_each(
    name: str, bytes_: int, together: bool, monkeypatch: pytest.MonkeyPatch, _fresh: None
) -> None:
    x, w, bias, options = drawn(name)
    x = np.concatenate([x + number for number in range(5)])
    monkeypatch.setattr(col2im, "PRODUCT_BYTES", bytes_)
    monkeypatch.setattr(col2im, "_MOST_BYTES", 1 << 20)
    monkeypatch.setattr(col2im, "_COLUMNS", 1 << 20 if together else 0)
    monkeypatch.setattr(col2im, "_workspace", poisoned)
    how = col2im.plan(Geometry.conv_transpose(x.shape, w.shape, **options), x.itemsize)
    assert how is not None
    assert how.sizes[0] == (len(x) if together else 1)
    np.testing.assert_array_equal(computed(x, w, bias, options), reference.conv_transpose(x, w, bias, **options))


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("bytes_", [2 << 20, 1])
@pytest.mark.parametrize("name", CASES)
def test_non_finite_values_reach_what_they_touch(
    name: str, bytes_: int, value: float, monkeypatch: pytest.MonkeyPatch, _fresh: None
) -> None:
    monkeypatch.setattr(col2im, "PRODUCT_BYTES", bytes_)
    for operand in (0, 1):
        x, w, bias, options = drawn(name)
        for place in (0, (x, w)[operand].size // 2, -1):
            changed = (x.copy(), w.copy())
            changed[operand].flat[place] = value
            with np.errstate(invalid="ignore"):
                right = reference.conv_transpose(*changed, bias, **options)
            np.testing.assert_array_equal(computed(*changed, bias, options), right)


def test_what_no_lead_covers_is_left_to_the_other_way() -> None:
    """Without padding the first and the last output of a class have one tap each, and no tap has both."""
    assert col2im.plan(Geometry.conv_transpose((1, 2, 6, 6), (2, 2, 4, 4), 2), 4) is None
    assert col2im.plan(Geometry.conv_transpose((1, 2, 6, 6), (2, 2, 4, 4), 2, 1), 4) is not None


def test_long_rows_do_not_take_more_memory_than_a_few_blocks() -> None:
    wide = Geometry.conv_transpose((1, 2, 4, 1 << 20), (2, 2, 4, 4), 2, 1)
    assert col2im.plan(wide, 4) is None
    line = col2im.plan(Geometry.conv_transpose((1, 2, 1 << 22), (2, 2, 4), 2, 1), 4)
    assert line is not None
    assert line.resident * 4 * 4 <= col2im.PRODUCT_BYTES


def test_threads_share_out_what_blas_does_not_multiply(monkeypatch: pytest.MonkeyPatch, _fresh: None) -> None:
    x, w, bias, options = drawn("depthwise")
    monkeypatch.setenv("CUPY_KST_THREADS", "3")
    monkeypatch.setattr(col2im, "PRODUCT_BYTES", 1)
    monkeypatch.setattr(col2im, "_ALONE", 0)
    monkeypatch.setattr(col2im, "_COLUMNS", 0)
    shared: list[int] = []

    def noting(tasks: Any, do: Any) -> None:
        shared.append(len(each := list(tasks)))
        parallel.parallel_for(each, do)

    monkeypatch.setattr(col2im, "parallel_for", noting)
    right = reference.conv_transpose(x, w, bias, **options)
    for _ in range(20):
        np.testing.assert_array_equal(computed(x, w, bias, options), right)
    assert shared == [10] * 20


def test_an_error_in_a_thread_is_raised_once_all_have_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_KST_THREADS", "2")
    done: list[int] = []

    def do(task: int) -> None:
        if task == 3:
            raise MemoryError("no memory")
        done.append(task)

    with pytest.raises(MemoryError, match="no memory"):
        parallel.parallel_for(range(50), do)
    assert set(done) <= set(range(50)) - {3}


def test_without_new_threads_the_caller_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(helpers: int) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setenv("CUPY_KST_THREADS", "3")
    monkeypatch.setattr(parallel, "_pool", none_left)
    done: list[int] = []
    parallel.parallel_for(range(9), done.append)
    assert done == list(range(9))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_threads_of_its_own() -> None:
    program = """
import os
from cupy_kst.cpu import parallel
done = []
parallel.parallel_for(range(9), done.append)
child = os.fork()
if child == 0:
    done.clear()
    parallel.parallel_for(range(9), done.append)
    os._exit(sorted(done) != list(range(9)))
assert os.waitpid(child, 0)[1] == 0
"""
    there = os.environ | {"CUPY_KST_THREADS": "3"}
    # Python warns of threads at a fork; that is what is tried here.
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=there, check=True, timeout=60)


def test_a_thread_keeps_its_memory_for_the_next_call(_fresh: None) -> None:
    w = np.ones((8, 4, 4, 4), "f4")
    call = prepare(w, stride=2, padding=1, method="ks_deconv", form="numpy_col2im")
    call(np.ones((1, 8, 6, 6), "f4"))
    held = col2im._memory.cached
    call(np.ones((1, 8, 9, 5), "f4"))
    assert col2im._memory.cached is held
    assert held.nbytes == col2im.PRODUCT_BYTES
