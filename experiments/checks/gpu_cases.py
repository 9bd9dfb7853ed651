"""One small case for each kernel, element type and layout, run one after the other: what compute-sanitizer watches.

``python -m experiments.checks.gpu_cases`` prints the name of each case before anything of it is launched.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

import click
import numpy as np
from numpy.typing import NDArray

import cupy_kst
from cupy_kst import grad
from cupy_kst.arrays import channels_first
from cupy_kst.cpu import reference
from cupy_kst.dtypes import DTYPES, Precision
from cupy_kst.gpu.build.runtime import load_cupy
from cupy_kst.labels import DataFormat
from cupy_kst.methods import METHODS
from experiments.checks.sanitizer import ALL_RAN, OUT_OF_TIME
from experiments.errors import EXIT_CHECK
from experiments.harness import gpu_compile

_SEED = 0
# Time in which what a tool prints of a case comes before the name of the next.
_PAUSE = 0.005

KERNEL = (4, 3)
OPTIONS: dict[str, Any] = {"stride": (2, 3), "padding": ((1, 0), (0, 2))}
# Channels of the smaller and the larger map, and sizes of the smaller: odd ones, and those that 16 bytes divide, with
# so many positions that products over them are split.
SHAPES = {"odd": (5, 3, (3, 5)), "even": (16, 32, (9, 8))}
_BATCH = 2


@dataclass(frozen=True)
class GpuCase:
    """One call by a method; without a form, the library chooses it."""

    method: str
    dtype: str
    data_format: DataFormat
    precision: Precision
    shape: str
    form: str = ""

    def __str__(self) -> str:
        precision = f" {self.precision}" if self.dtype == "float32" else ""
        form = f" {self.form}" if self.form else ""
        return f"{self.method} {self.dtype}{precision} {self.data_format} {self.shape}{form}"

    @property
    def operation(self) -> str:
        return METHODS[self.method].operation

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The small map, the weight and the large map, of numbers whose sums every element type has exactly."""
        small, large, sizes = SHAPES[self.shape]
        shapes = {
            "small": (_BATCH, small, *sizes),
            "weight": (small, large, *KERNEL),
            "large": cupy_kst.Geometry.conv_transpose(
                (_BATCH, small, *sizes), (small, large, *KERNEL), **OPTIONS
            ).output_shape,
        }
        draw = np.random.default_rng(_SEED).integers
        return {name: draw(-1, 2, shape).astype(self.dtype) for name, shape in shapes.items()}

    def expected(self) -> NDArray[Any]:
        """Return what the definition gives."""
        small, weight, large = self.arrays.values()
        if self.operation == "conv_transpose":
            return reference.conv_transpose(small, weight, **OPTIONS)
        if self.operation == "conv":
            return reference.conv(large, weight, **OPTIONS)
        return reference.conv_weight(large, weight.shape, small, **OPTIONS)

    def call(self, cupy: Any) -> Callable[[], Any]:
        """Return the call on CuPy arrays; its output holds NaN wherever it was not written."""
        how: dict[str, Any] = {"data_format": self.data_format, "precision": self.precision}
        small, large = (cupy.asarray(self._laid_out(self.arrays[name])) for name in ("small", "large"))
        weight = cupy.asarray(self.arrays["weight"])
        written = {"conv_transpose": large, "conv": small, "conv_weight": weight}[self.operation]
        out = cupy.asarray(np.full(written.shape, np.nan, self.dtype))
        if self.operation == "conv_weight":
            size = weight.shape
            return lambda: grad.conv2d_weight(large, size, small, out=out, method=self.method, **how, **OPTIONS)
        x = small if self.operation == "conv_transpose" else large
        op: Any = self.operation
        if self.form:
            prepared = cupy_kst.prepare(weight, op=op, method=self.method, form=self.form, **how, **OPTIONS)
            return lambda: prepared(x, out=out)
        function: Any = getattr(cupy_kst, f"{op}2d")
        return lambda: function(x, weight, out=out, method=self.method, **how, **OPTIONS)

    def in_first(self, result: NDArray[Any]) -> NDArray[Any]:
        """Return a result with its channels in front."""
        if self.operation == "conv_weight":
            return result
        first: NDArray[Any] = channels_first(result, 2, self.data_format)
        return first

    def _laid_out(self, array: NDArray[Any]) -> NDArray[Any]:
        return array if self.data_format == "channels_first" else np.ascontiguousarray(np.moveaxis(array, 1, -1))


def cases(cupy: Any) -> list[GpuCase]:
    """Return every method in every element type, precision, layout and shape, and then every form of these in one.

    Forms take the shapes in turn: with both, three tools would need more than the minutes that there are.
    """
    chosen = [
        GpuCase(method, dtype, data_format, precision, shape)
        for method in METHODS
        for dtype in DTYPES
        for precision in (get_args(Precision) if dtype == "float32" else ("ieee",))
        for data_format in get_args(DataFormat)
        for shape in SHAPES
    ]
    return [*chosen, *_of_forms(cupy, chosen)]


def _of_forms(cupy: Any, chosen: list[GpuCase]) -> Iterator[GpuCase]:
    shapes = list(SHAPES)
    for number, case in enumerate(case for case in chosen if case.shape == shapes[0]):
        names = _form_names(cupy, case)
        # The only form of a method is the one that was chosen above.
        for turn, name in enumerate(names if len(names) > 1 else (), number):
            yield replace(case, shape=shapes[turn % len(shapes)], form=name)


def _form_names(cupy: Any, case: GpuCase) -> list[str]:
    """Return the forms of a method that can be asked for, in two parts where a form has any number of them."""
    if case.operation == "conv_weight":
        return []
    op: Any = case.operation
    try:
        cupy_kst.prepare(
            cupy.asarray(case.arrays["weight"]),
            op=op,
            method=case.method,
            form="?",
            data_format=case.data_format,
            precision=case.precision,
            **OPTIONS,
        )
    except ValueError as error:
        return [re.sub("N$", "2", name) for name in re.findall(r"'([^']+)'", str(error).partition(" has ")[2])]
    raise AssertionError(f"{case}: there is no form '?', but it was taken")


def run(case: GpuCase, cupy: Any) -> str:
    """Compute a case twice, since its second call takes builds of its own; return what is wrong, or ``""``."""
    call, expected = case.call(cupy), case.expected()
    for turn in ("first", "second"):
        result = case.in_first(cupy.asnumpy(call()))
        if not np.array_equal(result, expected):
            wrong = int((result != expected).sum())
            return f"{wrong} of {expected.size} outputs of the {turn} call differ from the definition"
    return ""


@click.command()
@click.option("--start", type=int, default=0, help="Number of the first case.")
@click.option("--seconds", type=float, default=600.0, help="No case is begun later than this.")
@click.option("--compile", "compiles", is_flag=True, help="First compile the kernels of all cases, on all cores.")
def main(start: int, seconds: float, compiles: bool) -> None:
    """Run the cases; a line `case NUMBER of ALL: NAME` comes before each, `wrong: WHY` after one that is."""
    begun = time.monotonic()
    cupy = load_cupy()
    # A pool would give arrays memory beside which an access out of bounds is another array's.
    cupy.cuda.set_allocator(None)
    every, failed = cases(cupy), False
    if compiles:
        compile_cases(cupy, every)
    for number, case in enumerate(every[start:], start):
        if time.monotonic() - begun > seconds:
            print(OUT_OF_TIME, flush=True)
            break
        print(f"case {number + 1} of {len(every)}: {case}", flush=True)
        try:
            wrong = run(case, cupy)
        except Exception as error:
            wrong = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        time.sleep(_PAUSE)
        if wrong:
            failed = True
            print(f"wrong: {wrong}", flush=True)
            # Raises where nothing can run any more: a new process goes on with the next case.
            cupy.cuda.get_current_stream().synchronize()
    else:
        print(ALL_RAN, flush=True)
    if failed:
        raise SystemExit(EXIT_CHECK)


def compile_cases(cupy: Any, every: list[GpuCase]) -> None:
    """Compile the kernels of cases, so that this process and later ones find them in CuPy's cache."""
    with gpu_compile.recorded() as found:
        for case in every:
            call = case.call(cupy)
            for _ in range(2):
                call()
    with gpu_compile.processes() as pool:
        failed = gpu_compile.compile_all(list(found), pool, cupy.cuda.Device().id)
    print(f"{len(found)} kernels compiled, {len(failed)} failed", *failed, sep="\n", flush=True)


if __name__ == "__main__":
    main()
