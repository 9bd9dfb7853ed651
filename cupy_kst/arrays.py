"""What callers hand in: which array module it belongs to, how it lies, and whether an `out` may be written."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from numbers import Number
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.exceptions import TooHardError

from .dtypes import spelt
from .hints.channels import out_layout
from .hints.words import stride_of_bias

Engine = Literal["numpy", "cupy"]


def engine_of(optional: Mapping[str, Any], **needed: Any) -> Engine:
    """Return which engine computes the arrays (an optional one may be None), or raise a TypeError with the way out."""
    given = {name: array for name, array in optional.items() if array is not None}
    kinds = {name: _kind(name, array, needed) for name, array in (needed | given).items()}
    (first, kind), *others = kinds.items()
    for name, other in others:
        if other != kind:
            raise TypeError(
                f"{first} is a {_MODULES[kind]} array and {name} a {_MODULES[other]} array: "
                "move one with cupy.asarray(array) or cupy.asnumpy(array)"
            )
    return kind


_MODULES = {"numpy": "NumPy", "cupy": "CuPy"}
# Candidates that NumPy tries, some nanoseconds each, before two arrays that may overlap count as if they did.
_MOST_WORK = 100_000


def _kind(name: str, array: Any, needed: Mapping[str, Any]) -> Engine:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost: pass {name}.filled(0)")
    if isinstance(array, np.ndarray):
        return "numpy"
    # A CuPy array exists only where its module is loaded already, so this needs no import. Another thread may be at it.
    if isinstance(array, getattr(sys.modules.get("cupy"), "ndarray", ())):
        return "cupy"
    if type(array).__module__.partition(".")[0] == "torch":
        raise TypeError(
            f"{name} is a torch.Tensor: pass {name}.detach().numpy(), or cupy.from_dlpack({name}.detach()) on the GPU; "
            "torch.from_dlpack turns the result back"
        )
    if array is None:
        raise TypeError(f"{name} is None: expected a NumPy or CuPy array")
    kind = type(array).__name__
    article = "an" if kind[0] in "aeiou" else "a"
    # A name with a space, such as "the prepared weight", is not an argument's.
    bare = isinstance(array, (Number, np.generic))
    made = f", as numpy.asarray({name}) makes" if name.isidentifier() and not bare else ""
    stride = stride_of_bias(array, getattr(needed.get("weight"), "ndim", 0) - 2) if name == "bias" else ""
    raise TypeError(f"{name} is {article} {kind}: expected a NumPy or CuPy array{made}{stride}")


def channels_first(array: Any, rank: int, data_format: str) -> Any:
    """Return a view of a map with its channels in front of the `rank` spatial axes."""
    if data_format == "channels_first" or array.ndim <= rank:
        return array
    return array.transpose(*range(array.ndim - rank - 1), array.ndim - 1, *range(array.ndim - rank - 1, array.ndim - 1))


def check_out(
    module: ModuleType,
    out: Any,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    inputs: Iterable[tuple[str, Any]],
    rank: int,
    data_format: str,
) -> None:
    """Raise a ValueError that names the rule if `out` can't take the result of `inputs`: names and arrays.

    `data_format` is the layout of the result, "" for a weight; it has `rank` spatial axes.
    """
    if out.shape != shape:
        hint = out_layout(out.shape, shape, rank, data_format)
        raise ValueError(f"out has shape {out.shape}: the output has shape {shape}{hint}")
    if out.dtype != dtype:
        raise ValueError(
            f"out has dtype {spelt(out.dtype)}: the output has dtype {dtype.name}"
            + ("" if out.dtype.isnative else " in native byte order")
        )
    if not out.flags.c_contiguous:
        raise ValueError(f"out has strides {out.strides}: it must be C-contiguous")
    if module is np and not out.flags.writeable:
        raise ValueError("out is read-only")
    for name, array in inputs:
        if array is not None and _overlap(module, out, array):
            raise ValueError(f"out overlaps {name} in memory: pass an array of its own")


def check_workspace(module: ModuleType, workspace: Any, needed: int, alignment: int, others: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the rule if `workspace` can't be that of a call on `others` (None is passed over).

    Parameters
    ----------
    module : module
        NumPy or CuPy, which all arrays are of.
    workspace : array
        What the caller gave.
    needed, alignment : int
        Bytes that it has at least, and that divide the address of its first.
    others : mapping of str to array
        What the call reads and writes, by the caller's names.
    """
    if workspace.dtype != np.uint8 or workspace.ndim != 1 or not workspace.flags.c_contiguous:
        raise ValueError(
            f"workspace has shape {workspace.shape} and dtype {spelt(workspace.dtype)}: expected one contiguous axis "
            "of uint8"
        )
    if workspace.size < needed:
        raise ValueError(f"workspace has {workspace.size} bytes: this call takes {needed}")
    if module is np:
        if not workspace.flags.writeable:
            raise ValueError("workspace is read-only")
    else:
        check_devices({"workspace": workspace, **others})
        if workspace.data.ptr % alignment:
            raise ValueError(
                f"workspace begins {workspace.data.ptr % alignment} bytes behind a multiple of {alignment}"
            )
    for name, array in others.items():
        if array is not None and _overlap(module, workspace, array):
            raise ValueError(f"workspace overlaps {name} in memory: pass an array of its own")


def copy_of(array: Any, dtype: np.dtype[Any], conjugate: bool = False) -> Any:
    """Return a C-contiguous copy in a dtype, on the device of the array; of a complex one also the conjugate."""
    # What overflows in another dtype says so in the copy, not in warnings.
    with device_of(array), np.errstate(all="ignore"):
        copy = array.astype(dtype, order="C", copy=True)
    return conjugate_in_place(copy) if conjugate else copy


def conjugated(array: Any) -> Any:
    """Return a conjugate copy of a complex array on its device, and a real one as it is."""
    # Wider ones are refused further on.
    conjugates = array.dtype.kind == "c" and array.dtype.itemsize <= 16
    return copy_of(array, array.dtype.newbyteorder("="), conjugate=True) if conjugates else array


def conjugate_in_place(array: Any) -> Any:
    """Return an array, which is C-contiguous and in native byte order, after conjugating it if it is complex."""
    if array.dtype.kind == "c":
        part = array.dtype.itemsize // 2
        with device_of(array):
            # By the sign's bit: CuPy compiles its own kernels with -ftz=true, under which a minus flushes subnormals.
            bits = array.view(f"u{part}")[..., 1::2]
            bits ^= bits.dtype.type(1 << (8 * part - 1))
    return array


def device_of(array: Any) -> AbstractContextManager[Any]:
    """Return a context in which the device of an array is the current one."""
    device: AbstractContextManager[Any] = nullcontext() if isinstance(array, np.ndarray) else array.device
    return device


class _Addresses:
    """The memory of an array of any module as NumPy describes it, which then reckons with addresses and reads none."""

    def __init__(self, array: Any) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (array.data.ptr, True),
            "shape": array.shape,
            "strides": array.strides,
            "typestr": f"|V{array.dtype.itemsize}",
        }


def _overlap(module: ModuleType, one: Any, other: Any) -> bool:
    """Return whether two arrays on one device have bytes in common; True where that takes too long to find out."""
    # Their bounds tell in nearly all calls; the rest are arrays that lie in the gaps of another.
    if not module.may_share_memory(one, other):
        return False
    if module is not np:
        one, other = (np.asarray(_Addresses(each)) for each in (one, other))
    try:
        # Any number of steps will do; NumPy's own types know its two constants alone.
        return np.shares_memory(one, other, max_work=_MOST_WORK)  # type: ignore[arg-type]
    except TooHardError:
        return True


def check_devices(named: dict[str, Any]) -> None:
    """Raise a ValueError if CuPy arrays (None is passed over) are on different devices."""
    (first, array), *others = ((name, each) for name, each in named.items() if each is not None)
    for name, other in others:
        if other.device != array.device:
            raise ValueError(f"{first} is on {array.device} and {name} on {other.device}: move one of them")


def empty_beside(module: ModuleType, array: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return an uninitialised array of `module` on the device of `array`."""
    with device_of(array):
        return module.empty(shape, dtype)


def output_for(
    module: ModuleType,
    out: Any,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    inputs: Sequence[tuple[str, Any]],
    rank: int,
    data_format: str,
) -> Any:
    """Return `out` if it can take the result of `inputs`, as `check_out` says, or without it a new array beside them.

    The first of `inputs` is not None.
    """
    if out is None:
        return empty_beside(module, inputs[0][1], shape, dtype)
    check_out(module, out, shape, dtype, inputs, rank, data_format)
    return out
