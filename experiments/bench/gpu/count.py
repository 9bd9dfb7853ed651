"""Counts what the operation of a row takes: floating-point operations, terms of a sum, bytes."""

from __future__ import annotations

import math

import cupy_kst
from experiments.bench.gpu.parts import RowSpec
from experiments.workloads.operations import OP


def terms_of(spec: RowSpec) -> int:
    """Return how many products an element of the result sums at most."""
    layer = spec.layer
    taps = math.prod(layer.kernel)
    return {
        "forward": taps * layer.in_channels // layer.groups,
        "input": taps * layer.out_channels // layer.groups,
        "weight": spec.batch * math.prod(layer.in_size),
    }[spec.operation]


def useful_flops(spec: RowSpec) -> int:
    """Return twice the products of a filter element and an input that both exist."""
    layer = spec.layer
    costs = cupy_kst.costs(
        layer.input_shape(spec.batch), layer.weight_shape, op=OP[spec.operation], dtype=spec.kind.dtype, **layer.options
    )
    return 2 * next(iter(costs.values())).useful_macs


def array_bytes(spec: RowSpec) -> int:
    """Return the bytes of the input, the weight and the output."""
    layer, batch = spec.layer, spec.batch
    shapes = (layer.input_shape(batch), layer.weight_shape, layer.output_shape(batch))
    return spec.kind.itemsize * sum(map(math.prod, shapes))
