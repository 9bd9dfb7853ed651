"""What Numba compiles of the engine, what it keeps on disk, and when that is stale.

Numba keeps machine code by the file that a function stands in, and takes it for stale when that file changes. Machine
code of the engine is made of many files: a kernel inlines functions of others, and holds their numbers. So each entry
point has in its name the hash of all of them. A changed source is another name, for which there is no machine code yet,
and what is left of the old names is removed.

Two kinds of functions are compiled:

- `inner` and `inlined` ones are called from compiled code alone. They need no wrappers for callers in Python and in C,
  and nothing of them is kept, because their machine code is a part of that of their callers.
- Entry points are called from outside: `entry` by Python, `c_entry` by the pool through an address.

Most functions have one caller, into which LLVM is told to put them. Left to its own judgement it calls the large ones,
and hands over a tuple of arrays by some hundred words on the stack, which takes longer than a short inner loop.
Functions that are called once a box are `inner`: a call of them costs nothing there, and LLVM decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from numba import cfunc, njit

# What compiled code holds of modules outside of this package.
OUTSIDE = ("sums.py",)
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}

inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)
# Functions that are called in loops over tiles, and small ones, are put into their callers.
inlined = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True, **_OPTIONS)


@cache
def stamp() -> str:
    """Return the hash of all sources that compiled code is made of."""
    found = sha256()
    package = files(__package__)
    outside = files(__package__.rpartition(".")[0])
    for source in (*_sources(package), *(outside / name for name in OUTSIDE)):
        found.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _sources(folder: Any) -> Iterator[Any]:
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.is_dir():
            yield from _sources(each)
        elif each.name.endswith(".py"):
            yield each


def entry(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that Python calls with arguments of these types."""

    def compiled(function: Callable[..., Any]) -> Any:
        made = njit(signature, cache=True, **_OPTIONS)(_stamped(function))
        if not made.stats.cache_hits:
            _remove_stale(made.stats.cache_path)
        return made

    return compiled


def c_entry(signature: Any, function: Callable[..., Any]) -> Any:
    """Compile a function that is called by its ``address``."""
    made = cfunc(signature, cache=True, error_model="numpy")(_stamped(function))
    if not made.cache_hits:
        # Numba tells the folder of functions that Python calls, and keeps both kinds in the same one.
        _remove_stale(njit(cache=True)(function).stats.cache_path)
    return made


def _stamped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose name, by which Numba finds its machine code, has the stamp."""
    if stamp() not in function.__qualname__:
        function.__qualname__ += f"_{stamp()}"
    return function


def _remove_stale(folder: str) -> None:
    """Remove machine code that was made of other sources."""
    with suppress(OSError):
        for each in Path(folder).iterdir():
            found = re.search(r"_([0-9a-f]{16})-\d+\.py.*\.nb[ci]$", each.name)
            if found and found[1] != stamp():
                each.unlink(missing_ok=True)
