"""A program that shows a failure by itself."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import scaling
from .arrays import Arrays, arguments
from .cases import Case
from .judging import Fault, bound
from .layouts import LAYOUTS
from .operations import OPERATIONS
from .trial import Demand, Function, Way

# Arrays with more elements are written as zeros but for the others.
_WRITTEN_OUT = 60


class Failure:
    """The smallest case in which a function is wrong, and what is wrong there."""

    def __init__(self, fn: Function, case: Case, arrays: Arrays, way: Way, demand: Demand, fault: Fault) -> None:
        self.name, self.case, self.arrays, self.way, self.demand, self.fault = (
            name(fn),
            case,
            arrays,
            way,
            demand,
            fault,
        )
        definition = OPERATIONS[case.op].definition
        self._package, _, self._module = definition.__module__.rpartition(".")
        self._definition = f"{self._module}.{definition.__name__}"
        module = getattr(fn, "__module__", None) or ""
        importable = getattr(sys.modules.get(module), self.name, None) is fn and module != "__main__"
        self._import = [f"from {module} import {self.name}"] if importable else []

    def program(self, at_once: bool) -> str:
        """Return a program that fails by what is wrong: by two calls at once, or by one or two after each other."""
        taken = arguments(self.case, self.arrays)
        options = ", ".join(f"{name}={value!r}" for name, value in self.case.options.items())
        lines = [
            "import numpy as np",
            f"from {self._package} import {self._module}",
            *(["from cupy_kst.testing.threads import at_once"] if at_once else []),
            *self._import,
            "",
            *(line for name, value in taken.items() for line in _assigned(name, value, self.way.layout)),
            f"options = dict({options})",
            *(self._at_once() if at_once else self._in_turn()),
        ]
        return "\n".join(lines)

    def _in_turn(self) -> list[str]:
        once = self._call()
        if self.way.calls == 1:
            return once
        second = [*scaling.statements(self.arrays), *self._call()]
        if self.fault.kind != "first result":
            return [*once, "# The same arrays again, with other numbers in them.", *second]
        kept = ["first, before = got, got.copy()"]
        return [*once, *kept, *second, 'assert np.array_equal(first, before), f"from\\n{before}\\nto\\n{first}"']

    def _call(self) -> list[str]:
        taken = arguments(self.case, self.arrays)
        held = [name for name, array in self.arrays._asdict().items() if array is not None]
        copies = [f"before = [{', '.join(f'{name}.copy()' for name in held)}]"]
        lines = [
            f"expected = {self._defined(', '.join(taken))}",
            *self._bound(taken),
            *(copies if self.fault.kind == "overwritten" else []),
            f"got = {self.name}({', '.join(taken)}, *options.values())",
        ]
        if self.fault.kind == "overwritten":
            after = f"[{', '.join(held)}]"
            return [
                *lines,
                f'assert all(map(np.array_equal, before, {after})), f"from\\n{{before}}\\nto\\n{{{after}}}"',
            ]
        if self.fault.kind == "dtype":
            return [*lines, f'assert np.asarray(got).dtype == "{self.case.dtype}", np.asarray(got).dtype']
        return [*lines, f'assert {self._right("got")}, f"got\\n{{got}}\\nexpected\\n{{expected}}"']

    def _at_once(self) -> list[str]:
        taken = arguments(self.case, self.arrays)
        factors = scaling.factors(self.arrays)
        others = [f"{factors[name]} * {name}" if name in factors else name for name in taken]
        calls = [f"lambda: {self.name}({', '.join(each)}, *options.values())" for each in (list(taken), others)]
        return [
            f"expected = {self._defined(', '.join(taken))}",
            *self._bound(taken),
            f"results = at_once({', '.join(calls)})",
            "for got in [*results[0], *(each / -2 for each in results[1])]:",
            f'    assert {self._right("got")}, f"got\\n{{got}}\\nexpected\\n{{expected}}"',
        ]

    def _defined(self, call: str) -> str:
        return f"{self._definition}({call}, **options)"

    def _bound(self, taken: dict[str, Any]) -> list[str]:
        if self.demand.numbers == "integers":
            return []
        sizes = [
            name if value is None or isinstance(value, tuple) else f"np.abs({name})" for name, value in taken.items()
        ]
        limit = bound(self.case, self.demand.max_error)
        return [f"bound = {limit.relative:.6g} * {self._defined(', '.join(sizes))} + {limit.least:.6g}"]

    def _right(self, got: str) -> str:
        if self.demand.numbers == "integers":
            return f"np.array_equal({got}, expected)"
        return f"np.shape({got}) == expected.shape and (np.abs({got} - expected) <= bound).all()"


def name(fn: Function) -> str:
    """Return a function's name, if a program can call it by that."""
    named = str(getattr(fn, "__name__", ""))
    return named if named.isidentifier() else "fn"


def _assigned(name: str, value: NDArray[Any] | tuple[int, ...] | None, layout: str) -> list[str]:
    if value is None or isinstance(value, tuple):
        return [f"{name} = {value!r}"]
    written_out = 0 < value.size <= _WRITTEN_OUT
    values = f"np.array({_numbers(value)}" if written_out else f"np.zeros({value.shape}"
    literal = f'{values}, dtype="{value.dtype}")'
    places = () if written_out else np.argwhere(value)
    return [
        f"{name} = {LAYOUTS[layout].text.format(literal)}",
        *(f"{name}[{', '.join(map(str, place))}] = {_number(value[tuple(place)])}" for place in places),
    ]


def _numbers(array: NDArray[Any]) -> str:
    if array.ndim == 0:
        return _number(array[()])
    return f"[{', '.join(map(_numbers, array))}]"


def _number(value: Any) -> str:
    """Return the shortest literal that gives an element of its type again."""
    if np.iscomplexobj(value):
        return repr(complex(*(float(str(part)) for part in (value.real, value.imag))))
    number = float(value)
    if number.is_integer():
        return str(int(number))
    # NumPy writes its own types as shortly as they can be read again.
    return repr(float(str(value))) if isinstance(value, np.floating) else repr(number)
