"""The text of a kernel: #define lines, then the .cu file with our headers in place of its #include lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

from ...dtypes import DTYPES
from ...geometry import Axis
from .params import THREADS

_INCLUDE = re.compile(r'^#include "(?P<name>[\w.]+)"$')

# The prefix that a constant of one axis has in CUDA text, the field that it is in the params struct, and its value.
_CONSTANTS = {"K": "kernel", "S": "stride", "D": "dilation", "G": "common", "V": "inverse"}
_AXES = "dhw"


def directory() -> Path:
    """Return where the .cu files are: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    for candidate in (package / "cuda", package.parent / "cuda"):
        if (candidate / "common.cuh").is_file():
            return candidate
    raise FileNotFoundError(f"the .cu files of cupy_kst are neither in {package} nor beside it: reinstall the package")


@lru_cache(maxsize=1024)
def text(
    stem: str,
    dtype: str,
    *,
    wide: bool = False,
    channels_last: bool = False,
    constants: tuple[Axis, Axis, Axis] | None = None,
    defines: tuple[tuple[str, str], ...] = (),
) -> str:
    """Return the CUDA text of a .cu file for one element type.

    Parameters
    ----------
    stem : str
        Name of the file without its ending.
    dtype : str
        Name of the element type.
    wide : bool
        Whether offsets inside one sample are 64 bits.
    channels_last : bool
        Whether maps have their channels behind their pixels.
    constants : tuple of Axis, optional
        The axes whose filter, stride and dilation become literals (the specialised build); without it they are read
        from the params struct, and the text serves every geometry (the generic build).
    defines : tuple of (str, str), optional
        Macros of the file's own, such as its tile: names and values.
    """
    element = DTYPES[dtype]
    lines = {
        "STORAGE": element.c_storage,
        "COMPUTE": element.c_compute,
        "STORAGE_IS_HALF": str(int(element.c_bits == "half")),
        "STORAGE_IS_BFLOAT": str(int(element.c_bits == "bfloat")),
        "INDEX": "long long" if wide else "int",
        "THREADS": str(THREADS),
        "CHANNELS_LAST": str(int(channels_last)),
        "GENERIC": str(int(constants is None)),
        **_constant_lines(constants, "LL" if wide else ""),
        **dict(defines),
    }
    head = "".join(f"#define {name} {value}\n" for name, value in lines.items())
    # Headers beside the text would be missed by CuPy's disk cache, which keys on the text alone.
    return head + _inlined(f"{stem}.cu", set())


def _constant_lines(constants: tuple[Axis, Axis, Axis] | None, suffix: str) -> Mapping[str, str]:
    lines = {}
    for index, axis in enumerate(_AXES):
        for letter, field in _CONSTANTS.items():
            value = f"(p.{field}_{axis})" if constants is None else f"{getattr(constants[index], field)}{suffix}"
            lines[letter + axis.upper()] = value
    return lines


def _inlined(name: str, seen: set[str]) -> str:
    seen.add(name)
    parts = [f'#line 1 "{name}"']
    for number, line in enumerate(_read(name).splitlines(), start=1):
        include = _INCLUDE.match(line)
        if include:
            if include["name"] not in seen:
                parts.append(_inlined(include["name"], seen))
            parts.append(f'#line {number + 1} "{name}"')
        elif line != "#pragma once":
            parts.append(line)
        else:
            parts.append("")
    return "\n".join(parts)


@cache
def _read(name: str) -> str:
    return (directory() / name).read_text(encoding="utf-8")
