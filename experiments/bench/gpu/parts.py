"""What the GPU benchmark measures: kinds of arithmetic, parts of at most some minutes each, and the rows of a part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cupy_kst.dtypes import DTYPES, Precision
from cupy_kst.labels import DataFormat
from experiments.workloads.layers import LayerSpec, unique
from experiments.workloads.operations import Operation

FORMATS: tuple[DataFormat, DataFormat] = ("channels_first", "channels_last")


@dataclass(frozen=True)
class Kind:
    """An element type with the precision in which it is multiplied.

    Attributes
    ----------
    name : str
        The precision for float32, else the element type.
    dtype : str
        Element type of the arrays.
    precision : str
        The option of our functions; 16-bit types ignore it.
    rival : str
        What PyTorch is told that float32 convolutions may use: "ieee" or "tf32".
    natural : str
        The layout that libraries are fastest in.
    rounding : float
        Relative rounding of a product by that of its factors, beside the rounding of a float32 sum: tensor cores drop
        the bits of a float32 that tf32 lacks. tf32x3 drops those of what it has split off, and the product of these.
    """

    name: str
    dtype: str
    precision: Precision
    rival: Literal["ieee", "tf32"]
    natural: DataFormat
    rounding: float

    @property
    def itemsize(self) -> int:
        return DTYPES[self.dtype].storage.itemsize

    @property
    def storage_rounding(self) -> float:
        """Largest relative error of storing a float32."""
        return {"float32": 0.0, "bfloat16": 2.0**-8, "float16": 2.0**-11}[self.dtype]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("ieee", "float32", "ieee", "ieee", "channels_first", 0.0),
        Kind("tf32", "float32", "tf32", "tf32", "channels_first", 2 * 2.0**-10),
        Kind("tf32x3", "float32", "tf32x3", "ieee", "channels_first", 3 * 2.0**-20),
        Kind("float16", "float16", "ieee", "ieee", "channels_last", 0.0),
        Kind("bfloat16", "bfloat16", "ieee", "ieee", "channels_last", 0.0),
    )
}

# Where the baseline with inserted zeros runs too: it is slow, and its ratio is known from few.
_BASELINE_KINDS, _BASELINE_BATCH = ("ieee", "bfloat16"), 16

# Layers of different shapes, filters and ranks, for what need not run on all.
EIGHT = ("DCGAN 2", "DCGAN-5x5 3", "DiscoGAN 4", "EB-GAN 5", "FST 1", "MDE 4", "Vocoder-1D 2", "U-Net-3D 1")


@dataclass(frozen=True)
class RowSpec:
    """One row: an operation of a layer at a batch in one kind, by ours in `formats`."""

    layer: LayerSpec
    batch: int
    operation: Operation
    kind: Kind
    formats: tuple[DataFormat, ...]

    @property
    def key(self) -> tuple[str, int, str, str]:
        return self.layer.label, self.batch, self.operation, self.kind.name

    @property
    def title(self) -> str:
        return f"{self.layer.label}, batch {self.batch}, {self.operation}, {self.kind.name}"

    @property
    def has_baseline(self) -> bool:
        return (
            self.operation == "forward"
            and self.batch == _BASELINE_BATCH
            and self.kind.name in _BASELINE_KINDS
            and len(self.formats) == 1
        )


@dataclass(frozen=True)
class Part:
    """A selection of rows; the first batch is measured first, so that a part that is cut short has all layers of it."""

    summary: str
    kinds: tuple[str, ...]
    batches: tuple[int, ...]
    operations: tuple[Operation, ...] = ("forward",)
    labels: tuple[str, ...] = ()
    both_formats: bool = False

    def specs(self) -> list[RowSpec]:
        """Return the rows in the order in which they are measured."""
        return [
            RowSpec(layer, batch, operation, kind, FORMATS if self.both_formats else (kind.natural,))
            for batch in self.batches
            for operation in self.operations
            for layer in unique()
            if not self.labels or layer.label in self.labels
            for kind in map(KINDS.__getitem__, self.kinds)
        ]


PARTS = {
    "core": Part("all layers, forward, in float32, TF32 and bfloat16", ("ieee", "tf32", "bfloat16"), (16, 1, 64)),
    "float32": Part("all layers, forward, the three precisions of float32", ("ieee", "tf32", "tf32x3"), (16, 1, 64, 4)),
    "half": Part("all layers, forward, both 16-bit types", ("float16", "bfloat16"), (16, 1, 64, 4)),
    "grad": Part(
        "eight layers, gradients of input and weight",
        ("ieee", "tf32", "bfloat16"),
        (16, 1, 64),
        ("input", "weight"),
        EIGHT,
    ),
    "layouts": Part(
        "all layers, forward, both layouts of ours", ("ieee", "tf32", "bfloat16"), (16, 1, 64), both_formats=True
    ),
}
