"""The arguments of a launch as bytes for the kernel's process; what a device would misread in silence is refused."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import EmulatorError
from .worker import Parameter


class Form(IntEnum):
    """How an argument is sent; tests/emulator/host.cpp reads the same."""

    VALUE = 0
    ARRAY = 1
    ALIAS = 2
    MAPPED = 3


class Sent(NamedTuple):
    """One argument on its way: `answer` is an array that the kernel may write."""

    form: Form
    data: memoryview
    size: int
    offset: int
    answer: npt.NDArray[Any] | None

    def header(self) -> bytes:
        return struct.pack("IIQQQ", self.form, self.answer is not None, self.size, self.offset, len(self.data))


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def offset(array: npt.NDArray[Any]) -> int:
    """Return how many bytes behind the start of its memory an array begins; on a device that is a 256-byte boundary."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return array.ctypes.data - owner.ctypes.data


def _mapped(array: np.memmap[Any, Any], answer: npt.NDArray[Any] | None, which: str) -> Sent:
    """Return an array that the kernel's process maps from its file: it may be larger than memory."""
    if array.filename is None or array.mode == "c":
        raise EmulatorError(f"{which} is mapped in mode {array.mode!r} from {array.filename}: another cannot share it")
    name = memoryview(os.fsencode(array.filename))
    return Sent(Form.MAPPED, name, array.nbytes, array.offset + offset(array), answer)


def _value(value: Any, parameter: Parameter, which: str) -> memoryview:
    data = np.asarray(value)
    if data.nbytes != parameter.size:
        raise EmulatorError(f"{which} has {data.nbytes} bytes ({data.dtype}); the kernel takes {parameter.size}")
    record = data.dtype.names is not None or data.dtype.kind == "c"
    floating = data.dtype.kind == "f" and parameter.size > 2
    if record != (parameter.kind == "record") or floating != (parameter.kind == "floating"):
        raise EmulatorError(
            f"{which} is {data.dtype}; the kernel takes a value of {parameter.size} bytes, {parameter.kind}"
        )
    return memoryview(data.tobytes())


def _send(value: Any, parameter: Parameter, which: str) -> Sent:
    pointer = parameter.kind.endswith("pointer")
    if isinstance(value, np.ndarray) and not (value.dtype.names and value.shape == (1,)):
        if not pointer:
            raise EmulatorError(
                f"{which} is an array; the kernel takes a value of {parameter.size} bytes, {parameter.kind}"
            )
        if not value.flags.c_contiguous:
            raise EmulatorError(f"{which} is not C-contiguous: shape {value.shape}, strides {value.strides}")
        if value.dtype.hasobject or not value.dtype.isnative:
            raise EmulatorError(f"{which} has dtype {value.dtype!r}, which a device cannot hold")
        answer = value if value.flags.writeable and parameter.kind == "pointer" else None
        if isinstance(value, np.memmap) and value.size:
            return _mapped(value, answer, which)
        return Sent(Form.ARRAY, _bytes(value), value.nbytes, offset(value) % 256, answer)
    if isinstance(value, np.void) or not isinstance(value, np.generic | np.ndarray):
        raise EmulatorError(
            f"{which} is a {type(value).__name__}: pass an array, a NumPy scalar, or a structured array of shape (1,)"
        )
    if not pointer:
        return Sent(Form.VALUE, _value(value, parameter, which), parameter.size, 0, None)
    if not (isinstance(value, np.uintp) and value == 0):
        raise EmulatorError(
            f"{which} is a value ({value.dtype}); the kernel takes a pointer: an array or numpy.uintp(0)"
        )
    return Sent(Form.VALUE, memoryview(value.tobytes()), parameter.size, 0, None)


def send(values: Sequence[Any], parameters: Sequence[Parameter], name: str) -> list[Sent]:
    """Return the arguments of kernel `name`, checked against its parameters."""
    if len(values) != len(parameters):
        raise EmulatorError(f"kernel {name} takes {len(parameters)} arguments, not {len(values)}")
    sent: list[Sent] = []
    spans: list[tuple[int, int, int]] = []
    for i, (value, parameter) in enumerate(zip(values, parameters, strict=True)):
        one = _send(value, parameter, f"argument {i} of kernel {name}")
        if one.form in (Form.ARRAY, Form.MAPPED) and one.size:
            start, end = value.ctypes.data, value.ctypes.data + value.nbytes
            for other, other_start, other_end in spans:
                if (start, end) == (other_start, other_end):
                    one = _alias(sent, other, one)
                    break
                if start < other_end and other_start < end:
                    raise EmulatorError(f"arguments {other} and {i} of kernel {name} overlap in part")
            else:
                spans.append((i, start, end))
        sent.append(one)
    return sent


def _alias(sent: list[Sent], other: int, one: Sent) -> Sent:
    """Return the argument that stands for an array already sent, which then comes back if either may be written."""
    if sent[other].answer is None:
        sent[other] = sent[other]._replace(answer=one.answer)
    return Sent(Form.ALIAS, memoryview(b""), 0, other, None)
