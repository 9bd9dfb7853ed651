"""One operation of one layer on given arrays, its exact result, and our methods that multiply by zeros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import cupy_kst
from cupy_kst import grad
from experiments.workloads.layers import LayerSpec

Array = NDArray[Any]

Operation = Literal["forward", "input", "weight"]

OPERATIONS: tuple[Operation, ...] = ("forward", "input", "weight")

# The name of each to `cupy_kst.costs` and `cupy_kst.explain`, and the method that the others are compared with.
OP: dict[Operation, Any] = {
    "forward": "conv_transpose",
    "input": "conv_transpose_input",
    "weight": "conv_transpose_weight",
}

BASELINES: dict[Operation, str] = {"forward": "zero_insertion", "input": "direct", "weight": "zero_dilation"}

_SEED = 0


@dataclass(frozen=True, eq=False)
class LayerOperation:
    """An operation of a layer, the three arrays that the operations read two of, and what ours need to know."""

    layer: LayerSpec
    batch: int
    operation: Operation
    input: Array
    weight: Array
    grad_output: Array

    @classmethod
    def drawn(cls, layer: LayerSpec, batch: int, operation: Operation) -> LayerOperation:
        """Return the operation on arrays drawn evenly from [-1, 1), always the same ones."""
        draw = np.random.default_rng(_SEED).random
        shapes = (layer.input_shape(batch), layer.weight_shape, layer.output_shape(batch))
        return cls(layer, batch, operation, *(2 * draw(shape, dtype=np.float32) - 1 for shape in shapes))

    @property
    def reads(self) -> tuple[Array, Array]:
        """The two arrays that the operation reads."""
        arrays = {
            "forward": (self.input, self.weight),
            "input": (self.weight, self.grad_output),
            "weight": (self.input, self.grad_output),
        }
        return arrays[self.operation]

    @property
    def written_shape(self) -> tuple[int, ...]:
        """Shape of the array that the operation writes."""
        written = {"forward": self.grad_output, "input": self.input, "weight": self.weight}
        return written[self.operation].shape

    @property
    def tolerance(self) -> float:
        """Bound on rounding alone: terms per element x epsilon x the largest term; more than that is a wrong result."""
        layer = self.layer
        taps = int(np.prod(layer.kernel))
        terms = {
            "forward": taps * layer.in_channels // layer.groups,
            "input": taps * layer.out_channels // layer.groups,
            "weight": self.batch * int(np.prod(layer.in_size)),
        }[self.operation]
        largest = float(np.prod([np.abs(array).max() for array in self.reads]))
        return terms * float(np.finfo(np.float32).eps) * largest

    def run(self, method: str) -> Array:
        """Carry the operation out by a method of ours."""
        return _run(self, method, self.input, self.weight, self.grad_output)

    def exact(self) -> Iterator[tuple[slice, Array]]:
        """Return the float64 result, a sample at a time so that large batches fit: where it belongs, and the part."""
        weight, total = self.weight.astype(np.float64), np.zeros(self.weight.shape)
        for sample in range(self.batch):
            one = slice(sample, sample + 1)
            part = _run(self, "auto", self.input[one].astype(np.float64), weight, self.grad_output[one].astype("f8"))
            if self.operation == "weight":
                total += part
            else:
                yield one, part
        if self.operation == "weight":
            yield slice(None), total


def _run(work: LayerOperation, method: str, x: Array, w: Array, g: Array) -> Array:
    layer = work.layer
    options = layer.options
    name = f"conv_transpose{layer.rank}d"
    if work.operation == "forward":
        output: Array = getattr(cupy_kst, name)(x, w, method=method, **options)
        return output
    # The sizes of a gradient's arrays say what the output padding was.
    del options["output_padding"]
    gradient: Array = (
        getattr(grad, f"{name}_input")(x.shape, w, g, method=method, **options)
        if work.operation == "input"
        else getattr(grad, f"{name}_weight")(x, w.shape, g, method=method, **options)
    )
    return gradient
