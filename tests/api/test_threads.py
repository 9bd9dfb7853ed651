"""Eight threads calling, preparing and explaining at once, with mixed shapes, operations and element types."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import numpy as np
import pytest

from cupy_kst import Geometry, conv2d, conv_transpose2d, explain, grad, prepare
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.engine import Engine
from cupy_kst.problem import Choice
from tests import emulator
from tests.emulator import build
from tests.support.problems import problem_of

THREADS = 8


def together(task: Any, count: int = THREADS) -> list[Any]:
    """Run `task` with the numbers up to `count` in as many threads, which begin at the same time."""
    barrier = Barrier(count)

    def begin(number: int) -> Any:
        barrier.wait()
        return task(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def arrays_of(number: int) -> tuple[Any, Any]:
    """Return an input and a weight of whole numbers, of a shape and an element type of this number's own."""
    generator = np.random.default_rng(number)
    dtype = tuple(DTYPES)[number % len(DTYPES)]
    x = generator.integers(-2, 3, (1 + number % 3, 4, 3 + number, 9 - number)).astype(dtype)
    return x, generator.integers(-2, 3, (4, 4, 1 + number % 4, 3)).astype(dtype)


def test_calls_of_many_threads_give_the_numbers_of_one() -> None:
    def results(number: int) -> list[Any]:
        found = []
        for each in range(number, number + 6):
            x, w = arrays_of(each % THREADS)
            y = conv_transpose2d(x, w, stride=2, padding=1)
            prepared = prepare(w, stride=2, padding=1, method="segregated")
            assert np.array_equal(prepared(x), y)
            found += [y, grad.conv_transpose2d_weight(x, w.shape, y, 2, 1), conv2d(y, w, stride=2, padding=1)]
            found.append(np.frombuffer(explain(x.shape, w.shape, stride=2, padding=1).encode(), np.uint8))
        return found

    at_once = together(results)
    for number in range(THREADS):
        for one, other in zip(at_once[number], results(number), strict=True):
            np.testing.assert_array_equal(one, other)


def test_one_prepared_weight_serves_all_threads_while_it_is_updated() -> None:
    x, w = (each.astype("f4") for each in arrays_of(3))
    weights = [w, 2 * w]
    right = [conv_transpose2d(x, each, stride=2) for each in weights]
    prepared = prepare(w, stride=2)

    def call(number: int) -> None:
        for turn in range(30):
            if number == 0:
                prepared.update(weights[turn % 2])
            y = prepared(x)
            assert any(np.array_equal(y, each) for each in right)

    together(call)


@pytest.mark.long(but=lambda method: method == "ks_deconv")
@pytest.mark.parametrize("method", ["unified", "ks_deconv"])
def test_a_text_is_compiled_once_for_all_threads(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator.require()
    compiled: Counter[str] = Counter()
    lock, true_compile = Lock(), build._compile

    def counted(name: str, target: Path, *rest: Any) -> None:
        with lock:
            compiled[target.name] += 1
        true_compile(name, target, *rest)

    monkeypatch.setattr(build, "_compile", counted)
    monkeypatch.setattr(build, "cache_directory", lambda: tmp_path)
    runtime = emulator.Emulator()
    engine = Engine(runtime, "generic")

    def run(number: int) -> None:
        # Two threads share a shape each; the generic text serves all shapes.
        x, w = (each.astype("f4") for each in arrays_of(number // 2))
        geometry = Geometry.conv_transpose(x.shape, w.shape, 2, 1)
        out = runtime.empty(geometry.full_large_shape, np.dtype("f4"))
        full = {"small": x.reshape(geometry.full_small_shape), "weight": w[:, :, None], "large": out}
        engine.run(problem_of(method, geometry), Choice(method), full)
        runtime.check_written(out)
        np.testing.assert_array_equal(out.reshape(geometry.output_shape), conv_transpose2d(x, w, stride=2, padding=1))

    together(run)
    kernels = len({kernel.path for kernel in runtime._kernels.values()})
    # The kernels, and the host that all of them are linked to.
    assert set(compiled.values()) == {1}
    assert len(compiled) == kernels + 1
