"""The pool's own text, word by word: a scheduler runs callers and helpers in every order of their steps.

`serve` and `lead` become generators that stop wherever they touch memory that threads share. From each state that is
reached, every thread that can go on does so, until no state is new. A caller that pauses goes on when a word has
changed, so that waiting forever is a state in which nobody can go on.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Generator, Iterator, Sequence
from types import GeneratorType, SimpleNamespace
from typing import Any

from cupy_kst.cpu.jit import pool

Steps = Generator[tuple[Any, ...], Any, None]

# Where the mail and the records are, and words of a record: the next task, and those that the pool knows.
_MAIL, _PITCH, _RECORDS, _APART = 1 << 10, 128, 1 << 20, 1 << 10
_COUNTER, _FUNCTION = 0, 77


class _Shared(ast.NodeTransformer):
    """Calls of these functions become steps."""

    _NAMES = ("load", "store", "fetch_add", "replace", "call", "pause")

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in self._NAMES:
            return ast.Yield(ast.Tuple([ast.Constant(node.func.id), *node.args], ast.Load()))
        return node


def steps_of(function: Any, change: tuple[str, str] = ("", "")) -> Callable[..., Steps]:
    """Return a function of the pool as a generator of its steps; `change` replaces a part of its text."""
    text = inspect.getsource(function.py_func)
    assert change[0] in text
    tree = ast.parse(text.replace(*change, 1) if change[0] else text)
    body = tree.body[0]
    assert isinstance(body, ast.FunctionDef)
    body.decorator_list = []
    # That a helper looks again in vain changes nothing.
    names = {**vars(pool), "_LOOKS": 1, "yield_processor": lambda: None}
    exec(compile(ast.fix_missing_locations(_Shared().visit(tree)), pool.__file__, "exec"), names)
    made: Callable[..., Steps] = names[body.name]
    return made


class _Thread:
    def __init__(self, steps: Steps, caller: bool) -> None:
        self.stack, self.caller, self.seen = [steps], caller, -1
        self.next: tuple[Any, ...] | None = next(steps)
        # What it is between steps, if anybody has asked.
        self._state: Any = None

    def resume(self, value: Any) -> None:
        """Go on to the next step."""
        self._state = None
        while self.stack:
            try:
                self.next = self.stack[-1].send(value)
            except StopIteration:
                self.stack.pop()
                value = None
            else:
                return
        self.next = None

    @property
    def state(self) -> tuple[Any, ...]:
        """Where it is, with the numbers that it holds."""
        if self._state is None:
            self._state = tuple(place for steps in self.stack for place in _places(steps))
        found: tuple[Any, ...] = self._state
        return found


def _places(steps: Any) -> Iterator[Any]:
    while isinstance(steps, GeneratorType) and steps.gi_frame is not None:
        # A caller may look as often as it likes.
        names = (
            name for name in sorted(steps.gi_frame.f_locals) if name != "looks" or "line" in steps.gi_frame.f_locals
        )
        values = tuple(steps.gi_frame.f_locals[name] for name in names)
        yield steps.gi_frame.f_lasti, tuple(value for value in values if isinstance(value, int))
        steps = steps.gi_yieldfrom


class Run:
    """One run of callers, each of which makes calls with the records of some numbers in turn, and of helpers."""

    def __init__(
        self,
        calls: Sequence[Sequence[int]],
        helpers: int,
        tasks: int,
        serve: Callable[..., Steps],
        lead: Callable[..., Steps],
    ) -> None:
        self._serve, self._lead, self._helpers, self._tasks = serve, lead, helpers, tasks
        words = (pool._SLOT, pool._AWAKE)
        self._words: dict[int, Any] = {_MAIL + row * _PITCH + word: 0 for row in range(helpers) for word in words}
        words = (_COUNTER, pool._PENDING, pool._FUNCTION)
        self._words |= {_RECORDS + n * _APART + word: None for each in calls for n in each for word in words}
        self._wakes, self._done = [0] * helpers, dict.fromkeys((n for each in calls for n in each), 0)
        self._changes = 0
        self._mail = SimpleNamespace(ctypes=SimpleNamespace(data=_MAIL), strides=(_PITCH, 8))
        self.threads = [_Thread(self._caller(each), True) for each in calls]
        self.threads += [_Thread(self._helper(row), False) for row in range(helpers)]

    def _caller(self, numbers: Sequence[int]) -> Steps:
        for number in numbers:
            at = _RECORDS + number * _APART
            self._words.update({at + _COUNTER: 0, at + pool._PENDING: 0, at + pool._FUNCTION: _FUNCTION})
            self._done[number] = 0
            # As `threads.parallel_for` does.
            for row in range(self._helpers):
                if not (yield "load", _MAIL + row * _PITCH + pool._AWAKE):
                    yield "wake", row
            yield from self._lead(self._mail, self._helpers, SimpleNamespace(ctypes=SimpleNamespace(data=at)))
            assert self._done[number] == self._tasks, "a caller returns before all tasks are done"
            # Memory of a record is given back.
            for word in (_COUNTER, pool._PENDING, pool._FUNCTION):
                self._words[at + word] = None

    def _helper(self, row: int) -> Steps:
        while True:
            yield "sleep", row
            yield from self._serve(self._mail, row)

    def _work(self, record: int) -> Steps:
        while (yield "fetch_add", record + _COUNTER, 1) < self._tasks:
            yield "done", record

    def can_go_on(self, thread: _Thread) -> bool:
        """Return whether a thread neither has ended nor waits for another."""
        if thread.next is None:
            return False
        kind, *args = thread.next
        if kind == "sleep":
            return self._wakes[args[0]] > 0
        return kind != "pause" or thread.seen != self._changes

    def step(self, thread: _Thread) -> None:
        """Take the next step of a thread, and those after it that no other thread sees."""
        self._step(thread)
        while thread.next is not None and self._is_its_own(thread):
            self._step(thread)

    def _is_its_own(self, thread: _Thread) -> bool:
        assert thread.next is not None
        kind, *args = thread.next
        of_function = kind == "load" and args[0] % _APART == pool._FUNCTION and args[0] >= _RECORDS
        return kind in ("call", "wake") or of_function or (kind == "pause" and not thread.caller)

    def _step(self, thread: _Thread) -> None:
        assert thread.next is not None
        kind, *args = thread.next
        value = None
        if kind in ("load", "store", "fetch_add", "replace"):
            assert self._words.get(args[0]) is not None, f"{kind} touches a record after its caller has returned"
            value = self._words[args[0]]
            self._touch(thread, kind, *args)
            value = value == args[1] if kind == "replace" else value
        elif kind == "call":
            assert args[0] == _FUNCTION
            thread.stack.append(self._work(args[1]))
        elif kind == "done":
            self._done[(args[0] - _RECORDS) // _APART] += 1
        elif kind == "wake":
            self._wakes[args[0]] = 1
        elif kind == "sleep":
            self._wakes[args[0]] = 0
        thread.resume(value)

    def _touch(self, thread: _Thread, kind: str, at: int, *values: int) -> None:
        thread.seen = self._changes
        now = self._words[at]
        if kind == "store":
            self._words[at] = values[0]
        elif kind == "fetch_add":
            self._words[at] += values[0]
        elif kind == "replace" and now == values[0]:
            self._words[at] = values[1]
        assert at % _APART != pool._PENDING or at < _RECORDS or self._words[at] >= 0, "more helpers end than began"
        self._changes += self._words[at] != now

    @property
    def state(self) -> tuple[Any, ...]:
        """All that what comes depends on."""
        threads = tuple((thread.state, thread.seen == self._changes) for thread in self.threads)
        return tuple(self._words.items()), tuple(self._wakes), tuple(self._done.items()), threads

    def check_end(self) -> None:
        """Nobody can go on: all callers have returned, and no slot is left with anything in it."""
        assert all(thread.next is None for thread in self.threads if thread.caller), "a caller waits forever"
        assert not any(self._words.values()), "a slot is not empty, or a helper is awake"


def explore(begin: Callable[[], Run]) -> int:
    """Run in every order of steps, and return how many states there are."""
    known: set[Any] = set()
    orders: list[tuple[int, ...]] = [()]
    while orders:
        order = orders.pop()
        run = begin()
        for number in order:
            run.step(run.threads[number])
        while True:
            if run.state in known:
                break
            known.add(run.state)
            ready = [number for number, thread in enumerate(run.threads) if run.can_go_on(thread)]
            if not ready:
                run.check_end()
                break
            orders += [(*order, number) for number in ready[1:]]
            order = (*order, ready[0])
            run.step(run.threads[ready[0]])
    return len(known)
