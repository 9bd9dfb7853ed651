"""Convolutions and all gradients by the public functions: the definition, the adjoint identity, PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cupy_kst
from cupy_kst import grad
from cupy_kst.dtypes import DTYPES
from cupy_kst.methods import OPERATION_OF, methods
from cupy_kst.testing import Arrays, Case, arguments, check, examples
from tests.support.engines import GPU, RESTRICTIONS, expected, first, last, public

DRAWN = ("float32", *(dtype for dtype in DTYPES if dtype != "float32"))
ADJOINTS = {
    "conv": ("conv_input", "conv_weight"),
    "conv_transpose": ("conv_transpose_input", "conv_transpose_weight"),
}
every_op = pytest.mark.parametrize("op", OPERATION_OF)
every_gradient = pytest.mark.parametrize("op", [op for op in OPERATION_OF if op not in ADJOINTS])
every_forward = pytest.mark.parametrize("op", ADJOINTS)
every_engine = pytest.mark.parametrize("engine", ("cpu", GPU))


def on(engine: str, array: Any) -> Any:
    # CuPy makes arrays of ints too, and these are no options.
    if engine == "cpu" or not isinstance(array, np.ndarray):
        return array
    import cupy

    return cupy.asarray(array)


def back(array: Any) -> Any:
    return array if isinstance(array, np.ndarray) else array.get()


@pytest.mark.long(but=lambda op: op in ("conv", "conv_weight"))
@every_engine
@pytest.mark.parametrize(("op", "method"), [(op, method) for op in OPERATION_OF for method in methods(op)])
def test_every_method_of_every_operation_equals_the_definition(engine: str, op: str, method: str) -> None:
    def fn(*values: Any) -> Any:
        case_rank = len(values[3])
        of = Case(op, (), (0,) * (case_rank + 2), False, "", (), (), (), 1, (), ())
        return back(public(of)(*(on(engine, value) for value in values), method=method))

    check(fn, op=op, dtypes=DRAWN, max_examples=120, **RESTRICTIONS.get(method, {}))


@every_forward
@pytest.mark.parametrize("which", [0, 1], ids=["input", "weight"])
def test_adjoint_identity_is_exact(op: str, which: int) -> None:
    """<g, A x> = <A* g, x> for A linear in the input, and in the weight."""

    @settings(max_examples=150)
    @given(examples(op=op, dtypes=("float64", "complex128"), bias=False), st.integers(0, 2**32 - 1))
    def identity(example, seed):
        case, arrays = example
        y = public(case)(arrays.input, arrays.weight, **case.options)
        generator = np.random.default_rng(seed)
        g = generator.integers(-3, 4, y.shape) + (1j * generator.integers(-3, 4, y.shape) if y.dtype.kind == "c" else 0)
        g = g.astype(y.dtype)
        taken = {name: value for name, value in case.options.items() if name != "output_padding"}
        known = {"input": arrays.input, "weight": arrays.weight}
        name = ("input", "weight")[which]
        given_ = {**known, f"{name}_size": known.pop(name).shape}
        given_.pop(name)
        adjoint = getattr(grad, f"{op}{case.rank}d_{name}")(**given_, grad_output=g, **taken)
        # vdot conjugates its first argument.
        assert np.vdot(g, y) == np.vdot(adjoint, getattr(arrays, name))

    identity()


@every_op
def test_linear_in_each_operand(op: str) -> None:
    @settings(max_examples=60)
    @given(examples(op=op, dtypes=("float64", "complex128"), bias=False), st.booleans())
    def linear(example, second):
        case, arrays = example
        name = [each for each in ("input", "weight", "grad_output") if getattr(arrays, each) is not None][second]
        one = getattr(arrays, name)
        other = np.flip(one) - 2

        def of(operand: Any) -> Any:
            return public(case)(**arguments(case, arrays._replace(**{name: operand})), **case.options)

        np.testing.assert_array_equal(of(3 * one + other), 3 * of(one) + of(other))

    linear()


@every_engine
@every_op
def test_channels_last_are_the_same_numbers(engine: str, op: str) -> None:
    @settings(max_examples=60)
    @given(examples(op=op, dtypes=("float32", "bfloat16", "complex64")), st.booleans())
    def same(example, with_out):
        case, arrays = example
        right = expected(case, arrays)
        maps = arrays._replace(input=last(arrays.input, case.rank), grad_output=last(arrays.grad_output, case.rank))
        given_ = arguments(case, maps)
        if "input_size" in given_:
            given_["input_size"] = last(np.empty(case.input_shape), case.rank).shape
        is_map = not op.endswith("_weight")
        out = np.full(last(right, case.rank).shape if is_map else right.shape, np.nan, case.dtype)
        values = {name: on(engine, value) for name, value in given_.items()}
        result = public(case)(
            **values, **case.options, data_format="channels_last", out=on(engine, out) if with_out else None
        )
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(first(back(result), case.rank) if is_map else back(result), right)

    same()


@every_forward
def test_three_gradients_at_once(op: str) -> None:
    @settings(max_examples=40)
    @given(examples(op=op, bias=False), st.tuples(st.booleans(), st.booleans(), st.booleans()))
    def three(example, mask):
        case, (x, w, _, _) = example
        g = public(case)(x, w, **case.options)
        options = {name: value for name, value in case.options.items() if name != "output_padding"}
        found = getattr(grad, f"{op}{case.rank}d")(x, w, g, **options, output_mask=mask)
        assert tuple(each is not None for each in found) == mask
        alone = (
            getattr(grad, f"{op}{case.rank}d_input")(x.shape, w, g, **options),
            getattr(grad, f"{op}{case.rank}d_weight")(x, w.shape, g, **options),
            getattr(grad, f"{op}{case.rank}d_bias")(g),
        )
        for one, other in zip(found, alone, strict=True):
            assert one is None or np.array_equal(one, other)
        channel = g.ndim - case.rank - 1
        by_hand = np.moveaxis(g, channel, 0).reshape(g.shape[channel], -1).sum(1)
        np.testing.assert_array_equal(alone[2], by_hand)

    three()


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@every_forward
def test_torch_has_the_same_gradients(op: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")

    @settings(max_examples=100)
    @given(examples(op=op, dtypes=(dtype,), padding="symmetric", batches=(1, 2, 3)))
    def same(example):
        case, arrays = example
        given_ = [None if each is None else torch.tensor(each, requires_grad=True) for each in arrays[:3]]
        y = getattr(torch.nn.functional, f"{op}{case.rank}d")(*given_, **case.options)
        g = np.ones(tuple(y.shape), dtype) * (1 if dtype == "float32" else 1 - 2j)
        g[..., -1] = 3
        y.backward(torch.tensor(g))
        options = {name: value for name, value in case.options.items() if name != "output_padding"}
        found = getattr(grad, f"{op}{case.rank}d")(arrays.input, arrays.weight, g, **options)
        for one, by_torch in zip(found, given_, strict=True):
            if by_torch is not None:
                np.testing.assert_array_equal(one, by_torch.grad.numpy())

    same()


def test_gradients_of_16_bits_are_summed_in_float32() -> None:
    ones = np.ones((1, 1, 5000), "float16")
    assert grad.conv1d_bias(ones).item() == 5000
    assert grad.conv1d_weight(ones, (1, 1, 1), ones).item() == 5000
    assert grad.conv1d_bias(ones).dtype == "float16"


def test_of_an_empty_batch_the_gradient_is_zero() -> None:
    x, w = np.ones((0, 2, 4, 4), "f4"), np.ones((3, 2, 3, 3), "f4")
    g = cupy_kst.conv2d(x, w)
    assert g.shape == (0, 3, 2, 2)
    out = np.full(w.shape, np.nan, "f4")
    assert grad.conv2d_weight(x, w.shape, g, out=out) is out
    assert not out.any()
    assert not grad.conv2d_bias(g).any()
    assert grad.conv2d_input(x.shape, w, g).shape == x.shape


X, W = np.ones((2, 4, 7, 6), "f4"), np.ones((3, 4, 3, 3), "f4")
G = cupy_kst.conv2d(X, W, stride=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: grad.conv2d_input(X.shape, W, G),
            "has shape (2, 3, 3, 2): input_size=(2, 4, 7, 6) and weight of shape (3, 4, 3, 3) give shape (2, 3, 5, 4)",
        ),
        (lambda: grad.conv2d_weight(X, W.shape, G[:1], 2), "weight_size=(3, 4, 3, 3) give shape (2, 3, 3, 2)"),
        (lambda: grad.conv2d_weight(X, W.shape[1:], G, 2), "conv2d_weight takes 4 dimensions (out_channels, in_cha"),
        (lambda: grad.conv2d_input(X.shape, W, G, 2, method="direct"), "conv_transpose has 'auto', 'zero_insertion'"),
        (lambda: grad.conv2d_weight(X, W.shape, G, 2, method="unified"), "conv_weight has 'auto', 'zero_dilation'"),
        (
            lambda: grad.conv_transpose2d_input((2, 3, 3, 2), W, X[:, :, :, :4], 2),
            "grad_output has shape (2, 4, 7, 4): possible are (7, 5) to (8, 6) for input_size=(2, 3, 3, 2) and w",
        ),
        (lambda: grad.conv_transpose2d_weight(G, W.shape, X, 2, "same"), "grad_output has shape (2, 4, 7, 6): input"),
        (lambda: grad.conv2d_bias(np.ones(3, "f4")), "grad_output has shape (3,): expected 4 dimensions, 3 unbatched"),
        (lambda: grad.conv2d(X, W, G, 2, output_mask=(True,)), "output_mask=(True,): expected 3 values"),
        (lambda: cupy_kst.conv2d(X, W, data_format="NHWC"), "data_format='NHWC': there is 'channels_first', 'chan"),
        (lambda: cupy_kst.conv2d(X, W, precision="fast"), "precision='fast': there is 'ieee', 'tf32', 'tf32x3'"),
        (
            lambda: cupy_kst.conv2d(X[:, :3], W),
            "has 3 channels, but weight of shape (3, 4, 3, 3) with g",
        ),
        (lambda: cupy_kst.conv2d(X, W, groups=3), "with groups=3 takes 12"),
        (lambda: cupy_kst.conv2d(X, W[:, :2], groups=2), "groups=2 does not divide the 3 output channels"),
        (lambda: cupy_kst.conv2d(X, W, dilation=3), "spans (7, 7), more than the size (7, 6) of input of"),
        (lambda: cupy_kst.conv2d(X, W, np.ones(4, "f4")), "bias has shape (4,): the output has 3 channels"),
        (lambda: cupy_kst.conv1d(X, W), "conv1d takes 3 dimensions (out_channels, in_channels // groups, *kernel)"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_rule(call: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: grad.conv2d_input(X, W, G),
            r"^input_size is an array of shape \(2, 4, 7, 6\): expected a sequence of i",
        ),
        (lambda: grad.conv2d_weight(X, W, G), r"^weight_size is an array of shape \(3, 4, 3, 3\): expected a sequence"),
        (lambda: grad.conv2d_bias(G, groups=2), r"^conv2d_bias\(\) got an unexpected keyword argument 'groups'$"),
        (lambda: grad.conv_transpose3d(X), r"^conv_transpose3d\(\) missing a required argument: 'weight'$"),
        (lambda: grad.conv1d_input(X.shape, W, G, 1, 0, 1, 1, "auto"), r"^conv1d_input\(\) too many positional argume"),
        (lambda: grad.conv2d_input(X.shape, W, G.astype("f8"), 2), "has dtype float64"),
    ],
)
def test_arguments_that_there_are_not(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: cupy_kst.conv2d(x, W, data_format="channels_last"),
        lambda x: cupy_kst.conv_transpose2d(x, W, data_format="channels_last"),
        lambda x: grad.conv2d_weight(x, W.shape, G, data_format="channels_last"),
        lambda x: grad.conv2d_input(x.shape, W, G, data_format="channels_last"),
        lambda x: grad.conv_transpose2d_weight(x, W.shape, G, data_format="channels_last"),
        lambda x: grad.conv_transpose2d_input(x.shape, W, G, data_format="channels_last"),
        lambda x: cupy_kst.prepare(W, data_format="channels_last")(x),
        lambda x: cupy_kst.prepare(W, op="conv", data_format="channels_last")(x),
    ],
)
def test_the_shape_that_the_caller_has_is_named(call: Any) -> None:
    with pytest.raises(
        ValueError,
        match=r"^(input of shape |x of shape |input_size=)\(2, 5, 6, 7\) has 7 channels, .* takes [34]$",
    ):
        call(np.ones((2, 5, 6, 7), "f4"))


@pytest.mark.parametrize("size", [5, 6, 7, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_same_padding_divides_the_input_by_the_stride(size: int, stride: int, kernel: int) -> None:
    x, w = np.arange(1.0, size + 1)[None, None], np.arange(1.0, kernel + 1)[None, None]
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    for rule, pair in (("same", (total // 2, total - total // 2)), ("same_lower", (total - total // 2, total // 2))):
        y = cupy_kst.conv1d(x, w, stride=stride, padding=rule)
        assert y.shape[-1] == -(-size // stride)
        np.testing.assert_array_equal(y, cupy_kst.conv1d(x, w, stride=stride, padding=(pair,)))


def test_positions_beyond_the_input_are_dropped() -> None:
    # An output padding of the dilation's reach makes room for inputs that there were none of.
    g = np.arange(1.0, 8)[None, None]
    found = grad.conv_transpose1d_input((1, 1, 3), np.ones((1, 1, 2)), g, stride=1, dilation=4)
    np.testing.assert_array_equal(found, [[[6, 8, 10]]])
    wider = np.concatenate([g, [[[100.0, 100, 100]]]], axis=2)
    np.testing.assert_array_equal(
        grad.conv_transpose1d_input((1, 1, 3), np.ones((1, 1, 2)), wider, stride=1, dilation=4), found
    )


def test_precision_is_of_no_account_on_the_cpu() -> None:
    found = [cupy_kst.conv2d(X, W, precision=each).tobytes() for each in ("ieee", "tf32", "tf32x3")]
    assert len(set(found)) == 1


def test_arrays_of_a_case_are_those_that_its_operation_takes() -> None:
    @given(examples(op="conv_weight"))
    def taken(example):
        case, arrays = example
        assert isinstance(arrays, Arrays)
        assert (arrays.weight, arrays.bias) == (None, None)
        assert arrays.grad_output.shape == case.output_shape

    taken()
