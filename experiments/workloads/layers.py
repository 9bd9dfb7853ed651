"""The layers that every benchmark uses: transposed convolutions of published networks, each shape once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cupy_kst.hints.words import question
from experiments.errors import ExperimentError

LAYERS = Path(__file__).resolve().parent / "layers.json"

NAMES_HELP = "Only this layer, such as 'DCGAN 2', or only those of this network, such as DCGAN."


@dataclass(frozen=True)
class LayerSpec:
    """One layer; `names` are all networks' layers of this shape, "DCGAN 1" and the like."""

    names: tuple[str, ...]
    in_channels: int
    out_channels: int
    groups: int
    in_size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    output_padding: tuple[int, ...]
    out_size: tuple[int, ...]

    @property
    def label(self) -> str:
        return self.names[0]

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def networks(self) -> set[str]:
        return {name.rpartition(" ")[0] for name in self.names}

    @property
    def options(self) -> dict[str, Any]:
        """What `conv_transpose` takes beside the arrays."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "groups": self.groups,
        }

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels // self.groups, *self.kernel)

    def input_shape(self, batch: int) -> tuple[int, ...]:
        return (batch, self.in_channels, *self.in_size)

    def output_shape(self, batch: int) -> tuple[int, ...]:
        return (batch, self.out_channels, *self.out_size)


@cache
def unique() -> tuple[LayerSpec, ...]:
    """Return the layers in the file's order, those of one shape as one."""
    names: dict[tuple[Any, ...], list[str]] = {}
    for entry in json.loads(LAYERS.read_text(encoding="utf-8")):
        shape = (
            entry["in_channels"],
            entry["out_channels"],
            entry["groups"],
            tuple(entry["in_size"]),
            tuple(entry["kernel"]),
            tuple(entry["stride"]),
            tuple(map(tuple, entry["padding"])),
            tuple(entry["output_padding"]),
            tuple(entry["out_size"]),
        )
        names.setdefault(shape, []).append(f"{entry['network']} {entry['layer']}")
    return tuple(LayerSpec(tuple(given), *shape) for shape, given in names.items())


def named(names: Sequence[str], among: Sequence[LayerSpec] | None = None) -> list[LayerSpec]:
    """Return the layers of these names, which may be those of networks, such as "DCGAN"; all layers for no name."""
    among = unique() if among is None else among
    networks = dict.fromkeys(name.rpartition(" ")[0] for layer in among for name in layer.names)
    known = {*networks, *(name for layer in among for name in layer.names)}
    for name in names:
        if name not in known:
            there = ", ".join(networks)
            asked = question(name, known)
            raise ExperimentError(f"--layers {name}: there is no such network or layer; networks are {there}{asked}")
    return [layer for layer in among if not names or (layer.networks | set(layer.names)) & set(names)]
