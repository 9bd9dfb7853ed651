"""One way to carry out a row's operation on a GPU, and what it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cupy_kst.labels import DataFormat
from experiments.bench.gpu.machine import Graph

# How a backend is told from others of its name in another layout.
SHORT: dict[DataFormat, str] = {"channels_first": "first", "channels_last": "last"}


@dataclass(frozen=True)
class Backend:
    """One way to carry out an operation.

    Attributes
    ----------
    role : str
        "auto", "prepared", the name of our baseline method, or "torch".
    data_format : str
        Layout of the maps.
    call : callable
        Call with a number: reads that copy of the arrays and writes into memory that its graph may keep.
    eager : callable
        The same as users call it, which allocates what it returns.
    result : callable
        Returns what the last ``call(0)`` wrote, as PyTorch orders it.
    capture : callable
        Makes a graph of calls with the numbers that a function gives.
    poison : callable
        Makes what ``call(0)`` writes NaN.
    explained : str
        The method and form of one of ours.
    note : str
        What differs from the operation.
    """

    role: str
    data_format: DataFormat
    call: Callable[[int], object]
    eager: Callable[[int], object]
    result: Callable[[], Any]
    capture: Callable[[Callable[[int], int], int], Graph]
    poison: Callable[[], object] = lambda: None
    explained: str = ""
    note: str = ""


def name_of(role: str, data_format: DataFormat) -> str:
    """Return what a row calls a backend."""
    return f"{role} {SHORT[data_format]}"
