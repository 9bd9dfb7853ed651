"""What a refused call is told: what it passed, by its own names and in its own layout, and what it may have meant."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from cupy_kst import (
    Geometry,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose2d,
    conv_transpose3d,
    costs,
    explain,
    grad,
    merge,
    methods,
    prepare,
)
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.engine import form_of
from cupy_kst.hints.words import nearest
from cupy_kst.install import from_extra
from tests.support.checkout import ROOT
from tests.support.engines import TRANSPOSED

LAST: Any = {"data_format": "channels_last"}
HUGE = 2**31 - 1


def ones(*shape: int, dtype: Any = "f4") -> np.ndarray:
    return np.ones(shape, dtype)


# Channels first and last; weights of a transposed convolution and of a convolution.
X, L, W, V = ones(1, 4, 5, 5), ones(1, 5, 5, 4), ones(4, 12, 3, 3), ones(12, 4, 3, 3)
IMAGE, WIDE = ones(1, 4, 5, 5, dtype="u1"), ones(1, 4, 5, 5, dtype=np.clongdouble)


def said(call: Callable[[], Any]) -> str:
    """Return the message of the error of a call, which NumPy did not make."""
    with pytest.raises((TypeError, ValueError)) as found:
        call()
    return str(found.value)


ASKED: dict[str, list[tuple[Callable[[], Any], str]]] = {
    "maps with their channels last": [
        (
            lambda: conv_transpose2d(L, W),
            "input of shape (1, 5, 5, 4) has 5 channels, but weight of shape (4, 12, 3, 3) takes 4; "
            "the last axis has 4: is data_format='channels_last' meant?",
        ),
        (
            lambda: conv_transpose2d(X, W, **LAST),
            "input of shape (1, 4, 5, 5) has 5 channels, but weight of shape (4, 12, 3, 3) takes 4; "
            "the first axis has 4: is data_format='channels_first' meant?",
        ),
        (lambda: conv1d(ones(9, 4), ones(2, 4, 3)), "; the last axis has 4: is data_format='channels_last' meant?"),
        (lambda: conv3d(ones(1, 5, 5, 5, 4), ones(2, 4, 3, 3, 3)), "is data_format='channels_last' meant?"),
        (lambda: prepare(W)(L), "; the last axis has 4: is data_format='channels_last' meant?"),
        (lambda: explain(L, W), "; the last axis has 4: is data_format='channels_last' meant?"),
        (lambda: grad.conv2d_weight(L, V.shape, ones(1, 3, 3, 12)), "is data_format='channels_last' meant?"),
        (
            lambda: grad.conv2d_input(X.shape, V, ones(1, 3, 3, 12)),
            "grad_output has shape (1, 3, 3, 12): input_size=(1, 4, 5, 5) and weight of shape (12, 4, 3, 3) give shape "
            "(1, 12, 3, 3) with stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1); "
            "is data_format='channels_last' meant?",
        ),
        (
            lambda: Geometry.conv_transpose(L.shape, W.shape),
            "input_shape=(1, 5, 5, 4) has 5 channels, but weight_shape=(4, 12, 3, 3) takes 4; "
            "the last axis has 4: do the channels stand there, which here are first?",
        ),
    ],
    "weights with their first axes swapped": [
        (
            lambda: conv_transpose2d(X, V),
            "input of shape (1, 4, 5, 5) has 4 channels, but weight of shape (12, 4, 3, 3) takes 12; "
            "is weight.swapaxes(0, 1) meant?",
        ),
        (lambda: conv2d(X, W), "with groups=1 takes 12; is weight.swapaxes(0, 1) meant?"),
        (lambda: prepare(V)(X), "x of shape (1, 4, 5, 5) has 4 channels, but weight of shape (12, 4, 3, 3) takes 12; "),
        (lambda: costs(X.shape, V.shape), "are the first two axes of weight_shape swapped?"),
        (lambda: grad.conv2d_weight(X, W.shape, X), "are the first two axes of weight_size swapped?"),
        (
            lambda: conv2d(L, W),
            "takes 12; is data_format='channels_last' meant, and is weight.swapaxes(0, 1) meant?",
        ),
    ],
    "an input and a weight that are swapped": [
        (
            lambda: conv_transpose2d(W, X),
            "input of shape (4, 12, 3, 3) has 12 channels, but weight of shape (1, 4, 5, 5) takes 1; "
            "are input and weight swapped?",
        ),
        (lambda: conv2d(V, X), "with padding=((0, 0), (0, 0)); are input and weight swapped?"),
        (lambda: conv2d(ones(6, 2, 3, 3), X, groups=2), "with groups=2 takes 8; are input and weight swapped?"),
        (lambda: explain(W, X), "takes 1; are input_shape and weight_shape swapped?"),
    ],
    "weights with the filter's axes in front": [
        (lambda: conv_transpose2d(X, ones(3, 3, 12, 4)), "takes 3; is weight.transpose(3, 2, 0, 1) meant?"),
        (lambda: conv_transpose2d(X, ones(3, 3, 4, 12)), "takes 3; is weight.transpose(2, 3, 0, 1) meant?"),
        (lambda: conv2d(L, ones(3, 3, 4, 12), **LAST), "takes 3; is weight.transpose(3, 2, 0, 1) meant?"),
        (
            lambda: conv2d(L, ones(3, 3, 4, 12)),
            "takes 3; is data_format='channels_last' meant, and is weight.transpose(3, 2, 0, 1) meant?",
        ),
        (lambda: prepare(ones(3, 12, 4))(ones(1, 4, 5)), "takes 3; is weight.transpose(2, 1, 0) meant?"),
        (lambda: costs(X, (3, 3, 12, 4)), "; do the filter's axes stand first in weight_shape, which here are last?"),
    ],
    "pads in a row": [
        (lambda: conv2d(X, V, padding=(1, 2, 3, 4)), "'same_lower'; is padding=((1, 3), (2, 4)) meant?"),
        (lambda: conv1d(X[0], V[..., 0], padding=[1, 2]), "'same_lower'; is padding=((1, 2),) meant?"),
        (lambda: conv2d(X, V, padding=(1, 2, 3)), "or 'valid', 'same', 'same_lower'"),
    ],
    "other groups": [
        (
            lambda: conv2d(ones(1, 6, 8, 8), ones(6, 1, 3, 3)),
            "with groups=1 takes 1; is groups=6 meant, or is weight.swapaxes(0, 1) meant?",
        ),
        (lambda: conv2d(ones(1, 4, 8, 8), ones(6, 2, 3, 3)), "with groups=1 takes 2; is groups=2 meant?"),
        (
            lambda: conv2d(ones(1, 4, 8, 8), ones(6, 4, 3, 3), groups=2),
            "with groups=2 takes 8; weight.shape[1] is in_channels // groups: is groups=1 meant, or a weight of shape "
            "(6, 2, 3, 3)?",
        ),
        (
            lambda: conv2d(X, ones(6, 4, 3, 3), None, 1, 0, 2, 2),
            "is groups=1 meant, or a weight of shape (6, 2, 3, 3)?",
        ),
        (lambda: costs(X.shape, V.shape, op="conv", groups=2), "; weight_shape[1] is in_channels // groups: is groups"),
        (
            lambda: conv2d(ones(1, 8, 8, 4), V),
            "takes 4; is groups=2 meant, or is data_format='channels_last' meant?",
        ),
    ],
    "an output of the other layout": [
        (
            lambda: conv2d(L, V, out=ones(1, 12, 3, 3), **LAST),
            "out has shape (1, 12, 3, 3): the output has shape (1, 3, 3, 12); with data_format='channels_last' the "
            "channels of out are last, too",
        ),
        (
            lambda: conv2d(X, V, out=ones(1, 3, 3, 12)),
            "; with data_format='channels_first' the channels of out are first, too",
        ),
        (lambda: prepare(W)(X, out=ones(1, 7, 7, 12)), "; with data_format='channels_first' the channels of out are f"),
    ],
    "a word in another place": [
        (
            lambda: conv_transpose2d(X, W, None, "same"),
            "stride='same': expected an int, got str; is padding='same' meant?",
        ),
        (lambda: conv2d(X, V, None, 1, 0, "channels_last"), "; is data_format='channels_last' meant?"),
        (
            lambda: grad.conv2d_bias(X, "channels_last"),
            "conv2d_bias() too many positional arguments; is data_format='channels_last' meant?",
        ),
        (
            lambda: conv_transpose2d(X, W, output_size="same"),
            "output_size='same': expected an int, 2 ints, or the whole shape, got str; is padding='same' meant?",
        ),
    ],
    "a gradient of another argument": [
        (
            lambda: prepare(V[..., 0], op="conv_weight"),
            "op='conv_weight': a weight's gradient has no weight to prepare: call grad.conv1d_weight",
        ),
        (
            lambda: prepare(V, op="conv_bias"),
            "; a bias's gradient is a sum, which has no methods: call grad.conv2d_bias",
        ),
        (
            lambda: prepare(V, op="conv_weight"),
            "op='conv_weight': a weight's gradient has no weight to prepare: call grad.conv2d_weight",
        ),
        (lambda: prepare(W, op="conv_transpose_weight"), "no weight to prepare: call grad.conv_transpose2d_weight"),
        (lambda: costs(X, W, op="conv_bias"), "; a bias's gradient is a sum, which has no methods: call grad.conv2d_b"),
    ],
    "another rank": [
        (
            lambda: conv_transpose2d(X, ones(4, 3, 2)),
            "weight has shape (4, 3, 2): conv_transpose2d takes 4 dimensions (in_channels, out_channels // groups, "
            "*kernel); conv_transpose1d takes 3",
        ),
        (lambda: grad.conv2d_weight(X, (6, 3, 3), X), "weight_size=(6, 3, 3): conv2d_weight takes 4 dimensions"),
        (lambda: grad.conv2d(X, ones(6, 3, 3), X), "weight has shape (6, 3, 3): conv2d takes 4 dimensions"),
        (lambda: conv_transpose2d(X[..., 0], W, **LAST), "input of shape (1, 4, 5) has 5 channels"),
        (
            lambda: conv_transpose2d(ones(5), W, **LAST),
            "input has shape (5,): weight of shape (4, 12, 3, 3) takes 4 dimensions (batch, *spatial, in_channels), or",
        ),
    ],
    "a stride in the place of the bias": [
        (
            lambda: conv_transpose2d(X, W, 2),
            "bias is an int: expected a NumPy or CuPy array; the bias stands before the stride: is stride=2 meant?",
        ),
        (lambda: conv2d(X, V, (2, 1)), "is stride=(2, 1) meant?"),
        (lambda: prepare(W, 2), "is stride=2 meant?"),
        (lambda: conv_transpose2d(X, W, np.int64(2)), "array; the bias stands before the stride: is stride=2 meant?"),
        (
            lambda: conv_transpose2d(X, W, np.asarray(2)),
            "the output has 12 channels; the bias stands before the stride",
        ),
    ],
    "a bias of another shape": [
        (lambda: conv_transpose2d(X, W, ones(1, 12, 1, 1)), "the output has 12 channels; bias.reshape(12) fits"),
    ],
    "an adjoint without its stride": [
        (
            lambda: grad.conv_transpose2d_input(X.shape, W, ones(1, 12, 11, 11)),
            "grad_output has shape (1, 12, 11, 11): possible is (7, 7) for input_size=(1, 4, 5, 5) and "
            "weight of shape (4, 12, 3, 3) with stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1); "
            "is stride=2 meant?",
        ),
        (lambda: grad.conv_transpose2d_weight(X, W.shape, ones(1, 12, 11, 15)), "; is stride=(2, 3) meant?"),
        (lambda: grad.conv_transpose2d(X, W, ones(1, 12, 11, 11)), "; is stride=2 meant?"),
        (
            lambda: grad.conv_transpose2d_input((1, 4, 16, 16), ones(4, 6, 4, 4), ones(1, 6, 32, 32)),
            "dilation=(1, 1); are stride=2 and padding=1 meant?",
        ),
        (
            lambda: grad.conv_transpose2d_input((1, 4, 16, 16), ones(4, 6, 4, 4), ones(1, 6, 32, 32), stride=2),
            "dilation=(1, 1); is padding=1 meant?",
        ),
        (
            lambda: grad.conv2d_input((1, 6, 32, 32), ones(4, 6, 4, 4), ones(1, 4, 16, 16)),
            "dilation=(1, 1); are stride=2 and padding=1 meant?",
        ),
        (lambda: grad.conv2d_input((1, 4, 11, 11), V, ones(1, 12, 11, 11)), "dilation=(1, 1); is padding=1 meant?"),
        (
            lambda: grad.conv2d_input((1, 4, 11, 11), V, ones(1, 12, 40, 11)),
            "dilation=(1, 1); stride and padding are those of the forward call",
        ),
        (
            lambda: grad.conv_transpose2d_weight(X, W.shape, ones(1, 12, 200, 7)),
            "dilation=(1, 1); stride and padding are those of the forward call",
        ),
        (
            lambda: grad.conv2d_input((1, 4, 11, 11), V, ones(1, 12, 5, 5)),
            "grad_output has shape (1, 12, 5, 5): input_size=(1, 4, 11, 11) and weight of shape (12, 4, 3, 3) give "
            "shape (1, 12, 9, 9) with stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1); is stride=2 meant?",
        ),
        (lambda: grad.conv2d_weight(ones(1, 4, 11, 11), V.shape, ones(1, 12, 5, 5)), "; is stride=2 meant?"),
        (lambda: grad.conv2d(ones(1, 4, 11, 11), V, ones(1, 12, 5, 5)), "; is stride=2 meant?"),
        (lambda: conv_transpose2d(X, W, output_size=(11, 12)), "dilation=(1, 1); is stride=2 meant?"),
        (lambda: conv_transpose2d(X, W, padding=1, output_size=10, stride=1), "; is stride=2 meant?"),
    ],
    "words": [
        (lambda: conv_transpose2d(X, W, padding="SAME"), "'same' and 'same_lower'; is 'same' meant?"),
        (lambda: conv2d(X, V, padding="SAME_UPPER"), "; is 'same' meant?"),
        (lambda: conv2d(X, V, padding="Valid"), "; is 'valid' meant?"),
        (lambda: conv_transpose2d(X, W, method="Unified"), f"{TRANSPOSED[-1]!r}; is 'unified' meant?"),
        (lambda: conv_transpose2d(X, W, method="zero-insertion"), "; is 'zero_insertion' meant?"),
        (lambda: conv_transpose2d(X, W, method="direct"), f"{TRANSPOSED[-1]!r}; 'direct' is of conv"),
        (
            lambda: conv_transpose2d(X, W, data_format="NHWC"),
            "data_format='NHWC': there is 'channels_first', 'channels_last'; is 'channels_last' meant?",
        ),
        (lambda: conv2d(X, V, data_format="NCHW"), "; is 'channels_first' meant?"),
        (lambda: prepare(W, data_format="NWC"), "; is 'channels_last' meant?"),
        (lambda: grad.conv2d_bias(X, data_format="channels last"), "; is 'channels_last' meant?"),
        (lambda: costs(X, W, data_format="NCDHW"), "; is 'channels_first' meant?"),
        (lambda: conv2d(X, V, precision="float32"), "; is 'ieee' meant?"),
        (lambda: explain(X, W, precision="TF32"), "; is 'tf32' meant?"),
        (lambda: methods("conv2d"), "; is 'conv' meant?"),
        (lambda: costs(X, W, op="conv_transpose2d_input"), "; is 'conv_transpose_input' meant?"),
        (lambda: prepare(W, op="deconv"), "; is 'conv_transpose' meant?"),
        (lambda: prepare(W, method="ks_deconv", form="Numpy-col2im"), "; is 'numpy_col2im' meant?"),
        (lambda: form_of("ks_deconv", DTYPES["float32"], "F32/128x64"), "; is 'f32/128x64' meant?"),
        (lambda: costs(X, W, dtype="fp16"), "complex128; is 'float16' meant?"),
        (lambda: prepare(W, dtype="Float32"), "complex128; is 'float32' meant?"),
        (lambda: explain(X, W, dtype="bf16"), "complex128; is 'bfloat16' meant?"),
    ],
    "an array for a shape": [
        (
            lambda: grad.conv2d_weight(X, V, X),
            "weight_size is an array of shape (12, 4, 3, 3): expected a sequence of ints, such as its .shape",
        ),
        (lambda: Geometry.conv(X, V.shape), "input_shape is an array of shape (1, 4, 5, 5): expected a sequence of in"),
    ],
    "dtypes": [
        (lambda: conv_transpose2d(IMAGE, W), "pass input.astype(np.float32)"),
        (lambda: conv2d(X, V.astype(object)), "complex128: pass weight.astype(np.float32)"),
        (
            lambda: prepare(W)(IMAGE),
            "x has dtype uint8 and the prepared weight has dtype float32: uint8 is not supported, use one of "
            f"{', '.join(DTYPES)}: pass x.astype(np.float32)",
        ),
        (
            lambda: prepare(W)(X.astype(">f8")),
            "x has dtype float64 and the prepared weight has dtype float32: pass x.astype(np.float32) or "
            "prepare(weight, dtype=np.float64)",
        ),
        (lambda: prepare(W)(X.astype("c8")), "weight has dtype float32: pass prepare(weight, dtype=np.complex64)"),
        (lambda: grad.conv2d_input(X.shape, V, ones(1, 12, 3, 3, dtype="i4")), "pass grad_output.astype(np.float32)"),
        (
            lambda: grad.conv2d_input(X.shape, V.astype(np.clongdouble), ones(1, 12, 3, 3, dtype=np.clongdouble)),
            "complex256 is not supported, use one of ",
        ),
        (lambda: grad.conv2d_bias(IMAGE), "grad_output has dtype uint8: uint8 is not supported, use one of "),
        (
            lambda: merge({(0,): ones(1, 1, 1), (1,): ones(1, 1, 1, dtype=">f8")}, 2),
            "subkernels[(1,)] has dtype big-endian float64",
        ),
        (lambda: costs(X, W, dtype=">i4"), "dtype big-endian int32 is not supported: use one of "),
    ],
}


@pytest.mark.parametrize(
    ("call", "message"),
    [pytest.param(*each, id=f"{kind} {n}") for kind, group in ASKED.items() for n, each in enumerate(group)],
)
def test_what_may_have_been_meant_is_asked(call: Callable[[], Any], message: str) -> None:
    found = said(call)
    assert message in found
    # Whole sentences stand where they begin, and a question ends a message.
    assert found.startswith(message) or found.endswith(message) or message[-1] not in "?"
    assert not re.search(r"[<>|=][fiucb]\d", found)


@pytest.mark.parametrize(
    "call",
    [
        # A map that became small, depthwise filters, a weight that was prepared, and pads that are wrong in any order.
        lambda: conv2d(ones(1, 4, 2, 2), V),
        lambda: conv2d(ones(9, 8, 2, 2), ones(8, 1, 3, 3), groups=8),
        lambda: prepare(X)(W),
        lambda: conv2d(X, V, padding=(0, -1, 1, 1)),
        lambda: conv2d(X, V, padding=(True, True, False, False)),
    ],
)
def test_what_would_be_refused_as_well_is_not_asked(call: Callable[[], Any]) -> None:
    assert "?" not in said(call)


@pytest.mark.parametrize(
    "call",
    [
        lambda: conv_transpose2d(ones(1, 5, 6, 7), W),
        lambda: conv2d(ones(1, 5, 6, 7), ones(8, 9, 3, 3)),
        # Neither layout, nor the other order of a weight's axes, that groups would divide.
        lambda: conv_transpose2d(ones(1, 3, 5, 5), ones(2, 3, 3, 3), groups=2),
        lambda: conv_transpose2d(X, W, method="fast"),
        lambda: conv_transpose2d(X, W, method=None),
        lambda: conv_transpose2d(X, W, padding="circular"),
        lambda: costs(X, W, dtype="float8"),
        lambda: costs(X, W, dtype="int32"),
        lambda: conv_transpose2d(X, W, [0.5, 1.0]),
        lambda: conv_transpose2d(X, W, 2.0),
        lambda: conv_transpose2d(X, W, True),
        lambda: conv_transpose2d(X, W, ones()),
        lambda: conv_transpose2d(X, W, (2, 2, 2)),
        lambda: conv_transpose2d(X, W, list(range(1, 13))),
        lambda: prepare(W, stride=2, output_size=(1, 12, 100, 100))(X),
        lambda: conv2d(X, V, out=ones(1, 3, 4, 12)),
        lambda: conv_transpose2d(X, W, ones(1, 12, 1, 2)),
        lambda: conv_transpose2d(X, W, stride=2, output_size=(1000, 11)),
        lambda: conv_transpose2d(X, W, stride=2, output_size=(2, 11)),
        lambda: grad.conv2d_input(X.shape, V, ones(1, 12, 30, 3)),
        lambda: grad.conv2d_input(X.shape, V, ones(1, 11, 3, 3)),
    ],
)
def test_nothing_is_asked_where_nothing_fits(call: Callable[[], Any]) -> None:
    assert "?" not in said(call)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grad.conv2d_input((1, 3, 5, 5), V, ones(1, 12, 3, 3)), "input_size=(1, 3, 5, 5) has 3 channels, but "),
        (lambda: grad.conv2d(ones(1, 3, 5, 5), V, ones(1, 12, 3, 3)), "input of shape (1, 3, 5, 5) has 3 channels"),
        (
            lambda: grad.conv2d_weight(X, (12, 3, 3, 3), ones(1, 12, 3, 3)),
            "input of shape (1, 4, 5, 5) has 4 channels, but weight_size=(12, 3, 3, 3) with groups=1 takes 3",
        ),
        (lambda: grad.conv2d_input((1, 4, 2, 2), V, X), "of input_size=(1, 4, 2, 2) with padding=((0, 0), (0, 0))"),
        (lambda: grad.conv2d_input((1, 4, 0, 5), V, X), "input_size=(1, 4, 0, 5): only the batch may be of size zero"),
        (lambda: grad.conv2d_weight(X, (12, 0, 3, 3), X), "weight_size=(12, 0, 3, 3): no dimension may be of size ze"),
        (
            lambda: grad.conv_transpose2d_input(X.shape, W, ones(3)),
            "grad_output has shape (3,): expected as many dimensions as input_size=(1, 4, 5, 5) has",
        ),
        (
            lambda: grad.conv_transpose2d_input(L.shape, W, ones(2, 7, 7, 12), **LAST),
            "grad_output has shape (2, 7, 7, 12): its batch is 2, but that of input_size=(1, 5, 5, 4) is 1",
        ),
        (lambda: grad.conv_transpose2d(X, W, ones(1, 3, 7, 7)), "grad_output has shape (1, 3, 7, 7): it has 3 channel"),
        (lambda: grad.conv_transpose2d_weight(X, W.shape, X, groups=3), "groups=3 does not divide the 4 channels of"),
        (lambda: grad.conv2d(X, V, X, output_mask=True), "output_mask=True: expected 3 values, for input, weight and "),
        (lambda: prepare(V, op="conv")(X[:, :3]), "x of shape (1, 3, 5, 5) has 3 channels, but weight of shape"),
        (lambda: prepare(V, op="conv")(X[0, 0]), "x has shape (5, 5): weight of shape (12, 4, 3, 3) takes 4"),
        (lambda: prepare(W, padding=2)(X[..., :2, :2]), "the output would have spatial size (0, 0): x of shape (1, 4,"),
        (lambda: prepare(W).costs((1, 3, 5, 5)), "x of shape (1, 3, 5, 5) has 3 channels"),
        (lambda: prepare(W, **LAST)(L[..., :3]), "x of shape (1, 5, 5, 3) has 3 channels, but weight of shape"),
        (lambda: costs((1, 3, 5, 5), W.shape), "input_shape=(1, 3, 5, 5) has 3 channels, but weight_shape=(4, "),
        (lambda: costs(X.shape, (4, 12)), "weight_shape=(4, 12): expected 3, 4 or 5 dimensions"),
        (
            lambda: Geometry.conv_transpose_to(X.shape, W.shape, (1, 12, 7, 9)),
            "output_shape=(1, 12, 7, 9): possible is (7, 7) for input_shape=(1, 4, 5, 5)",
        ),
        (
            lambda: conv_transpose2d(X, W, stride=2, output_size=(16, 14)),
            "output_size=(16, 14): possible are (11, 11) to (12, 12) for input of shape (1, 4, 5, 5) and",
        ),
        *(
            (
                lambda size=size: conv_transpose2d(L, W, stride=2, output_size=size, **LAST),
                f"output_size={size}: expected 2 spatial sizes or a shape of 4 dimensions, as input of shape (1, 5, 5,",
            )
            for size in ((11, 12, 3), (3, 11, 12), (1, 1, 11, 12, 3), (11,), [])
        ),
        (
            lambda: conv_transpose2d(L[0], W, stride=2, output_size=(1, 11, 12, 3), **LAST),
            "output_size=(1, 11, 12, 3): expected 2 spatial sizes or a shape of 3 dimensions, as input of shape (5, 5,",
        ),
        (
            lambda: conv_transpose2d(L, W, stride=2, output_size=(1, 0, 11, 12), **LAST),
            "output_size=(1, 0, 11, 12): each spatial size must be at least 1",
        ),
        (
            lambda: conv_transpose2d(L, W, stride=2, output_padding=1, output_size=(1, 11, 10, 12), **LAST),
            "output_size=(1, 11, 10, 12) and output_padding=(1, 1) both settle the output",
        ),
        (
            lambda: prepare(W, output_size=11.0),
            "output_size=11.0: expected an int, 2 ints, or the whole shape, got flo",
        ),
        (
            lambda: prepare(W, op="conv_transpose_input", stride=2, output_size=11)(ones(1, 12, 12, 11)),
            "x has shape (1, 12, 12, 11), but was prepared for output_size=(11, 11)",
        ),
        (lambda: conv_transpose2d(X[:, :1], W), "input of shape (1, 1, 5, 5) has 1 channel, but weight"),
        (lambda: conv2d(X, V, stride=(1,)), "stride=(1,): expected an int or 2 ints, got 1 value"),
        (lambda: conv_transpose2d(X, W, 2.0), "bias is a float: expected a NumPy or CuPy array"),
        (
            lambda: costs(X.tolist(), W.shape),
            "input_shape is a list of length 1 that holds a sequence: expected a sequence of ints, such as "
            "numpy.asarray(input_shape).shape",
        ),
        (
            lambda: merge([W], 2),
            "subkernels is a list: expected a dict of residue class to array, as segregate returns",
        ),
        (lambda: prepare(W).explain(IMAGE), "x has dtype uint8 and the prepared weight has dtype float32: "),
        (lambda: prepare(W).costs(X.astype("f8")), "x has dtype float64 and the prepared weight has dtype float32: "),
        (lambda: prepare(W).compile([IMAGE]), "x has dtype uint8 and the prepared weight has dtype float32: "),
    ],
)
def test_arguments_have_the_names_that_the_caller_gave_them(call: Callable[[], Any], message: str) -> None:
    assert message in said(call)


BIG = "elements, more than the 2**59 - 1 of any array: "
ROWS = 2 * HUGE + 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: conv2d(X, V, padding=HUGE),
            f"the output would have shape (1, 12, {ROWS}, {ROWS}), {12 * ROWS**2} {BIG}input of shape (1, 4, 5, 5) and "
            f"weight of shape (12, 4, 3, 3) with stride=(1, 1), padding=(({HUGE}, {HUGE}), ({HUGE}, {HUGE})), "
            "dilation=(1, 1)",
        ),
        (
            lambda: conv_transpose2d(X, W, dilation=HUGE),
            f"the output would have shape (1, 12, {ROWS + 2}, {ROWS + 2}), {12 * (ROWS + 2) ** 2} {BIG}input of shape "
            "(1, 4, 5, 5) and weight of shape (4, 12, 3, 3) with stride=(1, 1), padding=((0, 0), (0, 0)), "
            f"dilation=({HUGE}, {HUGE})",
        ),
        (lambda: conv2d(X[:0], V, padding=HUGE), f"the output would have shape (0, 12, {ROWS}, {ROWS}), "),
        (lambda: conv_transpose2d(L, W, stride=HUGE, **LAST), f"the output would have shape (1, {4 * HUGE + 3}, "),
        (lambda: costs((1, 1, 2), (1, 2**29, 1), stride=2**30), f"would have shape (1, {2**29}, {2**30 + 1}), "),
        (lambda: conv_transpose3d(ones(1, 1, 2, 2, 2), ones(1, 1, 1, 1, 1), stride=2**20), BIG),
        (lambda: prepare(V, op="conv", padding=HUGE), f"stride=(1, 1), padding=(({HUGE}, {HUGE}), ({HUGE}, {HUGE}))"),
        (lambda: prepare(W, stride=HUGE)(X), "x of shape (1, 4, 5, 5) and weight of shape (4, 12, 3, 3) with stride="),
        (lambda: costs(X, W, dilation=HUGE), "input_shape=(1, 4, 5, 5) and weight_shape=(4, 12, 3, 3) with strid"),
        (lambda: explain(X, V, op="conv", padding=HUGE), f"the output would have shape (1, 12, {ROWS}, {ROWS}), "),
        (lambda: costs((1, 1, 2**40, 2**40), (1, 1, 1, 1)), "input_shape=(1, 1, 1099511627776, 1099511627776): "),
        (lambda: grad.conv2d_input((1, 4, 2**40, 2**40), V, X), "input_size=(1, 4, 1099511627776, 1099511627776): "),
        (
            lambda: grad.conv2d_weight(X, V.shape, X, padding=HUGE),
            f"grad_output has shape (1, 4, 5, 5), but would need (1, 12, {ROWS}, {ROWS}), {12 * ROWS**2} {BIG}input",
        ),
        (
            lambda: prepare(W, dilation=HUGE),
            f"{BIG}the smallest input of shape (4, 1, 1) and weight of shape (4, 12, 3, 3) with stride=(1, 1), ",
        ),
        (lambda: conv_transpose2d(X, W, output_size=2**40), "output_size=(1099511627776, 1099511627776): possible is "),
        (lambda: conv_transpose2d(X, W, stride=2**40), "stride=1099511627776: must be at most 2147483647"),
        # The maps could be, but not what a method makes of them.
        (
            lambda: conv_transpose2d(X, W, dilation=HUGE, padding=HUGE, method="zero_insertion"),
            f"method='zero_insertion': its zero-inserted map would have shape (1, 4, 1, {2 * HUGE + 5}, ",
        ),
        (
            lambda: grad.conv2d_weight(
                X, V.shape, ones(1, 12, 2, 2), stride=HUGE, padding=2**30, method="zero_dilation"
            ),
            f"method='zero_dilation': its dilated gradient would have shape (1, 12, 1, {HUGE + 1}, {HUGE + 1}), ",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_numpy_does(call: Callable[[], Any], message: str) -> None:
    found = said(call)
    assert message in found
    assert "array is too big" not in found
    assert "Maximum allowed" not in found


@pytest.mark.parametrize(
    ("op", "method"), [(op, method) for op in ("conv_transpose", "conv") for method in ("auto", *methods(op))]
)
def test_huge_options_that_come_to_small_maps_are_computed_or_refused_by_name(op: str, method: str) -> None:
    """Pads crop what dilation spreads: only the middle of the filter meets the input."""
    function, weight = (conv_transpose2d, W) if op == "conv_transpose" else (conv2d, V)
    try:
        found = function(X, weight, dilation=HUGE, padding=HUGE, method=method)
    except ValueError as error:
        assert str(error).startswith((f"method={method!r}: its ", "padding, stride and dilation put ((0, 0), (2147483"))
    else:
        np.testing.assert_array_equal(found, np.full((1, 12, 5, 5), 4, "f4"))


def test_costs_leave_out_methods_whose_maps_cannot_be() -> None:
    options: dict[str, Any] = {"dilation": HUGE, "padding": HUGE}
    assert "zero_insertion" not in costs(X, W, **options)
    assert re.search(r"zero_insertion +cannot: its zero-inserted map would have shape", explain(X, W, **options))


def test_errors_of_shapes_reach_another_process_and_are_copied() -> None:
    with pytest.raises(ValueError) as found:
        Geometry.conv_transpose(L.shape, W.shape)
    for again in (pickle.loads(pickle.dumps(found.value)), copy.copy(found.value)):
        assert isinstance(again, ValueError)
        assert str(again) == str(found.value)


def test_the_nearest_word() -> None:
    there = ("channels_first", "channels_last", "auto", "unified")
    words = {"NHWC": "channels_last", "Auto": "auto", "unifed": "unified", "ncl": "channels_first", "": None, "z": None}
    assert {word: nearest(word, there) for word in words} == words
    assert nearest(3, there) is None


def test_what_is_advised_to_install_is_what_the_extra_holds() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for module, name, extra, package in (
        ("cupy_kst.gpu.build.runtime", "_INSTALL", "cuda13", "cupy-cuda13x[ctk]"),
        ("cupy_kst.tune", "from_extra", "tune", "filelock"),
        ("cupy_kst.cpu.jit.engine", "from_extra", "fast", "numba"),
        ("cupy_kst.install", "from_extra", "testing", "hypothesis"),
    ):
        assert hasattr(import_module(module), name)
        assert re.search(rf'^{extra} = \["{re.escape(package)}[>"]', project, re.MULTILINE)
        assert from_extra(extra, package).startswith(f"pip install '.[{extra}]' in a checkout of cupy_kst")
