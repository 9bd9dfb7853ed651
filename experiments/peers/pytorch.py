"""PyTorch's transposed convolutions as a backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.peers.backends import Backend
from experiments.workloads.operations import LayerOperation


def torch_backend(torch: Any, work: LayerOperation) -> Backend:
    """Return PyTorch's backend.

    Its transposed convolution has one padding for both ends of an axis. Where that, with its output padding, cannot
    say what the layer crops, its users compute more and crop that, and so does this backend; the crop is a view.
    """
    layer = work.layer
    pads, extras, crops = zip(*map(symmetric, layer.padding, layer.output_padding, layer.stride), strict=True)
    cropped = any(map(any, crops))
    note = f"computed with padding {pads} and cropped, as one padding holds for both ends" if cropped else ""
    x, w, g = map(torch.from_numpy, (work.input, work.weight, work.grad_output))
    inside = (..., *(slice(lo, -hi or None) for lo, hi in crops))
    # The last axis comes first in what `pad` takes.
    outside = [amount for crop in reversed(crops) for amount in crop]

    def forward() -> Any:
        function = getattr(torch.nn.functional, f"conv_transpose{layer.rank}d")
        return function(x, w, None, layer.stride, pads, extras, layer.groups)[inside]

    def gradient(of: int) -> Any:
        # What autograd calls, told to make the one gradient alone.
        return torch.ops.aten.convolution_backward(
            torch.nn.functional.pad(g, outside) if cropped else g,
            x,
            w,
            None,
            layer.stride,
            pads,
            [1] * layer.rank,
            True,
            extras,
            layer.groups,
            [of == 0, of == 1, False],
        )[of]

    calls: dict[str, Callable[[], Any]] = {
        "forward": forward,
        "input": lambda: gradient(0),
        "weight": lambda: gradient(1),
    }
    return Backend("torch", calls[work.operation], lambda tensor: tensor.numpy(), note)


def symmetric(pads: tuple[int, int], extra: int, stride: int) -> tuple[int, int, tuple[int, int]]:
    """Return PyTorch's padding and output padding of an axis, and what is to be cropped of the result."""
    lo, hi = pads
    if 0 <= extra + lo - hi < stride:
        return lo, extra + lo - hi, (0, 0)
    least = min(lo, hi)
    return least, extra, (lo - least, hi - least)
