"""A transposed convolution as ONNX models: the native operator, and with operators for ordinary convolutions alone.

The last two are what a processor without transposed convolutions is given: inserted zeros (the NZP of arXiv
1907.01773), and that paper's split deconvolution, whose sub-filters are stacked on the output channels of one
convolution and whose outputs are interleaved and cropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.workloads.layers import LayerSpec
from experiments.workloads.operations import LayerOperation

Array = NDArray[Any]


def native(work: LayerOperation) -> bytes:
    """Return the model of one ConvTranspose; of any rank."""
    from onnx import helper, numpy_helper

    layer = work.layer
    lows, highs = zip(*layer.padding, strict=True)
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w"],
        ["y"],
        kernel_shape=layer.kernel,
        strides=layer.stride,
        pads=[*lows, *highs],
        output_padding=layer.output_padding,
        group=layer.groups,
    )
    return _model(work, [node], [numpy_helper.from_array(work.weight, "w")])


def zero_inserted(work: LayerOperation) -> bytes:
    """Return the model that inserts zeros and convolves by the whole filter; of rank 2, without groups."""
    from onnx import helper, numpy_helper

    layer = work.layer
    (height, width), (down, across) = layer.in_size, layer.stride
    apart = (work.batch, layer.in_channels, height, 1, width, 1)
    spread = (work.batch, layer.in_channels, height * down, width * across)
    lows = [taps - 1 - lo for taps, (lo, _) in zip(layer.kernel, layer.padding, strict=True)]
    # Zeros follow the last input as well.
    highs = [
        out + taps - 1 - length - lo
        for out, taps, length, lo in zip(layer.out_size, layer.kernel, spread[2:], lows, strict=True)
    ]
    weight = np.ascontiguousarray(np.flip(work.weight, (2, 3)).swapaxes(0, 1))
    nodes = [
        helper.make_node("Reshape", ["x", "apart"], ["columns"]),
        helper.make_node("Pad", ["columns", "zeros"], ["padded"]),
        helper.make_node("Reshape", ["padded", "spread"], ["inserted"]),
        helper.make_node("Conv", ["inserted", "w"], ["y"], kernel_shape=layer.kernel, pads=[*lows, *highs]),
    ]
    constants = {
        "apart": np.array(apart),
        "zeros": np.array([0] * 9 + [down - 1, 0, across - 1]),
        "spread": np.array(spread),
        "w": weight,
    }
    return _model(work, nodes, [numpy_helper.from_array(array, name) for name, array in constants.items()])


class Positions(NamedTuple):
    """How split deconvolution reads and crops an axis: zeros around the input, and where its outputs begin."""

    before: int
    after: int
    crop: int


def positions(size: int, taps: int, stride: int, low: int, out: int) -> Positions:
    """Return those of an axis; whole blocks of `stride` outputs that would be cropped in front are not computed."""
    sub_taps = -(-taps // stride)
    skipped, crop = divmod(sub_taps * stride - taps + low, stride)
    before = sub_taps - 1 - skipped
    blocks = -(-(crop + out) // stride)
    return Positions(before, blocks + sub_taps - 1 - size - before, crop)


def sub_filters(weight: Array, stride: Sequence[int]) -> Array:
    """Return the paper's sub-filters of a weight ``(in, out, *kernel)``, stacked: ``(out * strides, in, *sub_taps)``.

    Zeros at top and left make the filter a multiple of the stride; sub-filter ``(r, c)`` is every stride-th element
    from there on, rotated by 180 degrees. Those of one output channel stand side by side.
    """
    down, across = stride
    expanded = np.pad(
        weight, [(0, 0), (0, 0), *((-taps % s, 0) for taps, s in zip(weight.shape[2:], stride, strict=True))]
    )
    parts = [expanded[:, :, r::down, c::across][:, :, ::-1, ::-1] for r in range(down) for c in range(across)]
    stacked = np.stack(parts, axis=2)
    return np.ascontiguousarray(stacked.reshape(len(weight), -1, *stacked.shape[3:]).swapaxes(0, 1))


def split(work: LayerOperation) -> bytes:
    """Return the model of split deconvolution; of rank 2, one stride for both axes, without groups."""
    from onnx import helper, numpy_helper

    layer = work.layer
    axes = zip(layer.in_size, layer.kernel, layer.stride, layer.padding, layer.out_size, strict=True)
    rows, columns = (positions(size, taps, s, lo, out) for size, taps, s, (lo, _), out in axes)
    weight = sub_filters(work.weight, layer.stride)
    starts = np.array([rows.crop, columns.crop])
    constants = {"w": weight, "starts": starts, "ends": starts + layer.out_size, "axes": np.array([2, 3])}
    nodes = [
        helper.make_node(
            "Conv",
            ["x", "w"],
            ["parts"],
            kernel_shape=weight.shape[2:],
            pads=[rows.before, columns.before, rows.after, columns.after],
        ),
        helper.make_node("DepthToSpace", ["parts"], ["whole"], blocksize=layer.stride[0], mode="CRD"),
        helper.make_node("Slice", ["whole", "starts", "ends", "axes"], ["y"]),
    ]
    return _model(work, nodes, [numpy_helper.from_array(array, name) for name, array in constants.items()])


def _model(work: LayerOperation, nodes: list[Any], constants: list[Any]) -> bytes:
    from onnx import TensorProto, helper

    layer: LayerSpec = work.layer
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, layer.input_shape(work.batch))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, layer.output_shape(work.batch))],
        constants,
    )
    # The versions that every ONNX Runtime this experiment accepts can read.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised
