"""What tests say of errors above their bounds, and that what is not set is the same in every run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from cupy_kst import conv_transpose2d, cpu
from cupy_kst.cpu.jit import memory

from .bounds import assert_within
from .poison import MODULES

LIBRARY = Path(cpu.__file__).parents[1]


def test_the_worst_element_is_shown() -> None:
    exact = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert_within(exact + 0.5, exact, 0.5)
    message = (
        "2 of 4 errors are above their bound; the largest is 4 times its bound, 2 over 0.5 at (1, 0): 5.0, not 3.0"
    )
    with pytest.raises(AssertionError, match=re.escape(message)):
        assert_within(exact + np.array([[0.5, 1], [2, 0]]), exact, 0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1 + 2j])
def test_nothing_is_near_to_what_is_not(value: complex) -> None:
    with pytest.raises(AssertionError, match=r"1 of 3 errors .* at \(1,\)"):
        assert_within(np.array([1, value, 1]), np.ones(3), np.array([0, 1, 0]))


def test_no_error_is_within_a_bound_of_zero() -> None:
    assert_within(np.ones(2), np.ones(2), 0)


def test_outputs_start_as_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that sets nothing leaves NaN, whatever memory held before."""
    monkeypatch.setattr(cpu, "run", lambda *args, **options: None)
    for _ in range(3):
        assert np.isnan(conv_transpose2d(np.ones((1, 1, 2, 2), "f4"), np.ones((1, 1, 2, 2), "f4"))).all()


def test_all_that_is_made_empty_is_poisoned() -> None:
    """Compiled code makes nothing empty: its memory is that of the caller, so that one who has none is told."""
    calls = {path for path in LIBRARY.rglob("*.py") if re.search(r"\bnp\.empty(_like)?\(", path.read_text())}
    assert calls == {Path(str(module.__file__)) for module in MODULES}


# Sizes one after the other, and each a little more than the one before.
@pytest.mark.parametrize("least", [1, 100, 5000, memory.LINES_BYTES - 1, memory.LINES_BYTES])
def test_scratch_memory_has_room_for_all_that_is_asked_for(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_memory", type(memory._memory)())
    for size in [*range(least, least + 2 * memory.LINES_BYTES), least, 3 * least]:
        held, start = memory.scratch(size)
        assert start % memory.LINES_BYTES == 0
        assert memory.address(held) <= start and start + size <= memory.address(held) + held.size


def test_arrays_that_begin_where_a_line_does_lie_in_their_memory() -> None:
    for size in range(1, 200):
        made = memory.empty(size, np.dtype("f4"))
        assert made.size == size and made.base is not None
        assert memory.address(made) % memory.LINES_BYTES == 0
        assert memory.address(made) + made.nbytes <= memory.address(made.base) + made.base.nbytes
