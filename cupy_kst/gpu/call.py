"""Calls of a prepared weight on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import arrays
from ..packed import Packed
from . import engine, readable, writable
from .bound import ALIGNMENT
from .runtime import load_cupy

if TYPE_CHECKING:
    from ..calls import Settled


class Call:
    """A prepared weight's calls on inputs of one shape: they look at their arrays and launch, and nothing else.

    Made once per shape: kernels are compiled, in the build of their own, and the weight is packed, on the current
    stream. Calls then run on the current stream of the weight's device, and neither allocate nor wait if they are given
    `out`, and `workspace` where one is needed, and if arrays begin at a multiple of 16 bytes.

    Parameters
    ----------
    settled : Settled
        The call.
    weight, bias : cupy.ndarray
        C-contiguous, on one device; the bias may be None.
    packed : Packed
        Keeps what is made of the weight, for calls of all shapes.

    Attributes
    ----------
    workspace_bytes : int
        Bytes that a workspace has at least.
    """

    def __init__(self, settled: Settled, weight: Any, bias: Any, packed: Packed) -> None:
        self._cupy = load_cupy()
        self._device, self._weight = weight.device.id, weight
        self._shape, self._dtype = settled.shape, settled.dtype.storage
        self._rank, self._data_format = settled.geometry.rank, settled.data_format
        self._from_small = settled.operation == "conv_transpose"
        with weight.device:
            self._bound = engine(self._device).bind(
                settled.method,
                settled.geometry,
                settled.dtype,
                settled.data_format == "channels_last",
                settled.form,
                settled.precision,
                "specialised",
            )
            self.workspace_bytes = self._bound.workspace_bytes
            self._of_weight = self._bound.of_weight(weight, bias, packed)

    def __call__(self, x: Any, out: Any, workspace: Any) -> Any:
        """Write the result into `out`, or into an array made for it, and return that."""
        cupy, device = self._cupy, self._device
        if x.device.id != device or (out is not None and out.device.id != device):
            arrays.check_devices({"x": x, "out": out, "weight": self._weight})
        if out is None:
            out = arrays.empty_beside(cupy, x, self._shape, self._dtype)
        else:
            arrays.check_out(cupy, out, self._shape, self._dtype, (("x", x),), self._rank, self._data_format)
        if workspace is not None:
            arrays.check_workspace(cupy, workspace, self.workspace_bytes, ALIGNMENT, {"x": x, "out": out})
        if cupy.cuda.runtime.getDevice() == device:
            self._launch(x, out, workspace)
        else:
            with self._weight.device:
                self._launch(x, out, workspace)
        return out

    def _launch(self, x: Any, out: Any, workspace: Any) -> None:
        x, written = readable(x), writable(out)
        small, large = (x, written) if self._from_small else (written, x)
        self._bound(small, large, self._of_weight, workspace)
        if written is not out:
            out[...] = written
