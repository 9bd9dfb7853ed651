"""Every compiled form of every operation, with layers that divide all that its plan can divide."""

from __future__ import annotations

from tests.support.skips import need_compiled

from .jit_forms import (
    LANES,
    TILES,
    Form,
    Layer,
    of_col2im,
    of_few_channels,
    of_im2col,
    of_implicit_gemm,
    of_rows,
    of_weight_grad,
    of_winograd,
    run_correlate,
    run_packed,
)

need_compiled()

from cupy_kst.cpu.jit import engine, isa
from cupy_kst.cpu.jit.pack.weight import pack, pack_winograd

_AXES = frozenset({"samples", "depth", "height", "width"})
_BLOCKS = frozenset({"output channels", "blocks among tasks"})
_SUMS = frozenset({"products", "tiles"})
_IN_LANES = _AXES | _SUMS | {"rows in vectors"}
# Output channels of a block with positions in lanes and with channels in lanes, and a row of several boxes.
_WIDE, _CHANNELS, _LONG = TILES[isa.WIDE][0], TILES[isa.CHANNELS][1] * LANES, 9 * LANES + 5


def _plain_layers(outputs: int, several: int, deep: int) -> tuple[Layer, ...]:
    """Return rows, images, a volume and samples that boxes divide, channels that blocks divide, and deep sums."""
    return (
        *(Layer((1, 3, _LONG), outputs, (5,), stride, 2) for stride in (1, 2, 3)),
        Layer((2, 3, _LONG + 1), outputs, (4,), 2, 1),
        Layer((1, 3, _LONG), 2 * outputs, (3,), 2, 1, 1 if outputs % 2 else 2, 1, 1),
        *(Layer((1, 3, 7, 10), outputs, (3, 3), stride, 1) for stride in (1, 2)),
        Layer((1, 2, 11, 11), outputs, (3, 2), (2, 3), 1, 1, (1, 2)),
        Layer((1, 2, 5, 2, 3), outputs, (3, 2, 2), 1, (1, 0, 0)),
        Layer((1, 2, 5, 4, 5), outputs, (3, 2, 2), 1, (1, 0, 0)),
        Layer((1, 2, 5, 4, 5), outputs, (3, 3, 3), 2, 1),
        Layer((5, 3, 7), outputs, (3,), 1, 1),
        Layer((5, 3, 13), outputs, (3,), 2, 1),
        Layer((1, deep, 4, 5), outputs, (5, 5), 1, 2),
        Layer((1, 2, 13, 19), several, (3, 3), 1, 1),
        Layer((2, 2, 13, 19), several, (3, 3), 1, 1),
    )


_OF_WIDE = _plain_layers(2 * _WIDE + 3, 7 * _WIDE - 1, 11)
_OF_CHANNELS = _plain_layers(_CHANNELS + 3, 3 * _CHANNELS - 1, 21)
# With few output channels boxes are larger.
_LONGER = tuple(Layer((1, 1, 27 * 16 * LANES + 5), 1, (kernel,), stride, 1) for kernel, stride in ((4, 2), (3, 1)))
_OF_FEW, _OF_ONE = _plain_layers(3, 4, 11) + _LONGER, _plain_layers(1, 1, 11) + _LONGER
_OF_WINOGRAD = (
    Layer((5, 3, 4, 4), 9, (4, 4), 2, 1),
    Layer((1, 3, 4, 4), 3 * _CHANNELS - 1, (4, 4), 2, 1),
    Layer((5, 3, 19, 21), _CHANNELS + 3, (4, 4), 2, 1),
    Layer((1, 3, 43, 41), 9, (4, 4), 2, 1),
    Layer((1, 3, 4, 323), 9, (4, 4), 2, 1),
    Layer((1, 2, 23, 12, 13), 9, (4, 4, 4), 2, 1),
    Layer((2, 7, 9, 25), 9, (5, 3), 2, (2, 1)),
    Layer((1, 3, 5, 4, 5), 9, (4, 4, 4), 2, 1),
    Layer((1, 3, 15 * LANES + 1), 9, (6,), 3, 1),
    Layer((1, 600, 4, 5), 9, (4, 4), 2, 1),
    Layer((2, 6, 9, 9), 8, (3, 3), 1, 1, 2),
)
_OF_IM2COL = (
    Layer((5, 3, 4, 5), 9, (3, 3), 1, 1),
    Layer((3, 7, 6, 6), 83, (3, 3), 1, 1),
    Layer((1, 29, 3, 3), 9, (5, 5), 1, 1),
    Layer((7, 4, 9), 12, (3,), 2, 1, 2),
    Layer((1, 3, 5, 5), 9, (3, 3)),
    Layer((2, 3, 3, 4, 3), 10, (2, 3, 3), 1, 1),
)
_OF_COL2IM = (
    Layer((1, 130, 9, 9), 21, (5, 5), 2, 2),
    Layer((1, 140, 3, 7), 47, (4, 4), 2, 1),
    Layer((1, 130, 7 * LANES + 3), 5, (4,), 2, 1),
    Layer((1, 5, 13 * LANES + 1), 5, (3,), 3, 1),
    Layer((1, 5, 17, 33), 7, (3, 3), 1, 1),
    Layer((2, 6, 11, 21), 6, (3, 4), (3, 2), 1, 2),
    Layer((1, 5, 11, 4, 5), 7, (3, 2, 3), 2, 1),
    Layer((1, 3, 17, 33), 91, (3, 3), 2, 1, 1, 1, 1),
)
_OF_FEW_POSITIONS = (
    Layer((1, 130, 1, min(13, LANES)), 28 * LANES + 3, (3, 4), 2, 1),
    Layer((2, 130, 3, LANES // 4), 8 * LANES + 6, (4, 4), 2, 1, 2),
    Layer((1, 3, 1, 1), 8 * LANES + 1, (4, 4), 2, 1),
)
_OF_WEIGHT_GRAD = (
    # More boxes than a chain has, all of them in one task.
    Layer((1, 32, 1300, 45), 8, (3, 3), 1, 1, 8),
    Layer((1, 9 * LANES + 3, 9, 9), 7, (3, 3), 2, 1),
    Layer((5, _CHANNELS + 2 * LANES + 1, 5, 7), 45, (5, 5), 1, 2),
    Layer((1, 3 * _CHANNELS - 1, 6, 4 * LANES - 2), 5, (1, 3), (1, 2), 1),
    Layer((1, LANES - 1, 2405), 3, (3,), 1, 1),
    # All of a thread's memory: a whole block at as many positions as are transposed, and taps that leave lanes.
    Layer((1, _CHANNELS, 2405), 3, (3,), 1, 1),
    Layer((3, LANES + 3, 5, 11, 13), 4, (2, 3, 3), 2, 1),
    Layer((7, 2 * LANES + 2, 9, 9), 6, (3, 3), 2, 1, 2),
    Layer((1, 3 * LANES - 1, 9, 9), 3, (3, 3), 2, 1),
    Layer((5, LANES, 3, 3), 3, (3, 3), 1, 1),
    Layer((1, LANES, 5, 2, 3), 3, (3, 2, 3), 1, 1),
    Layer((1, 4 * LANES - 3, 9, 9), 3, (3, 3), 2, 1),
)
_OF_FEW_CHANNELS = (
    # More boxes than a chain has, all of them in one task.
    Layer((1, 8, 1300, 45), 8, (3, 3), 1, 1, 8),
    Layer((5, 1, 9, 21), 67, (5, 5), 1, 2),
    Layer((1, 2, 700), 5, (3,), 2, 1),
    Layer((3, 3, 5, 11, 13), 4, (2, 3, 3), 2, 1),
    Layer((7, 6, 19, 37), 4, (3, 3), 2, 1, 2),
    Layer((7, 3, 9, 9), 5, (3, 3), 1, 1),
    Layer((1, 2, 45, 19), 3, (3, 3), 2, 1),
    Layer((5, 2, 3, 3), 3, (3, 3), 1, 1),
    Layer((1, 2, 5, 2, 3), 3, (3, 2, 3), 1, 1),
)

_plain, _winograd = run_packed(pack), run_packed(pack_winograd)
_BLOCKS_AT_ONCE = _IN_LANES | _BLOCKS | {"blocks at once"}
FORMS: dict[str, Form] = {}
for _op in ("conv_transpose", "conv"):
    FORMS |= {
        f"{_op}, wide": Form(_op, _OF_WIDE, _BLOCKS_AT_ONCE, of_implicit_gemm, _plain, isa.WIDE),
        f"{_op}, few": Form(_op, _OF_FEW, _IN_LANES, of_implicit_gemm, _plain, isa.FEW),
        f"{_op}, one": Form(_op, _OF_ONE, _IN_LANES, of_implicit_gemm, _plain, isa.ONE),
        f"{_op}, channels": Form(_op, _OF_CHANNELS, _AXES | _SUMS | _BLOCKS, of_implicit_gemm, _plain, isa.CHANNELS),
        f"{_op}, winograd": Form(
            _op,
            _OF_WINOGRAD,
            _AXES | _BLOCKS | {"input channels", "tiles", "outputs in order"},
            of_winograd,
            _winograd,
        ),
    }
_rows = engine.conv_unpacked
FORMS |= {
    "conv, wide rows": Form("conv", _OF_WIDE, _BLOCKS_AT_ONCE, of_rows, _rows, isa.WIDE, False),
    "conv, few rows": Form("conv", _OF_FEW, _IN_LANES, of_rows, _rows, isa.FEW, False),
    "conv, one row": Form("conv", _OF_ONE, _IN_LANES, of_rows, _rows, isa.ONE, False),
    "conv, im2col": Form(
        "conv",
        _OF_IM2COL,
        _SUMS | {"samples", "input channels", "output channels among tasks", "output channels", "positions in vectors"},
        of_im2col,
        _rows,
        None,
        True,
    ),
    "conv_transpose, col2im": Form(
        "conv_transpose",
        _OF_COL2IM,
        (_AXES - {"samples"})
        | {"input channels", "output channels among tasks", "rows packed at once", "rows"}
        | {"tiles", "positions in vectors"},
        of_col2im,
        engine.col2im,
    ),
    "conv_transpose, col2im of few positions": Form(
        "conv_transpose",
        _OF_FEW_POSITIONS,
        frozenset({"input channels", "output channels among tasks", "rows packed at once", "rows"})
        # Small vectors have room for one tile of positions only.
        | ({"tiles"} if TILES[isa.CHANNELS][0] < LANES else set()),
        of_col2im,
        engine.col2im,
    ),
    "conv_weight, blocks": Form(
        "conv_weight",
        _OF_WEIGHT_GRAD,
        _AXES
        | {"channels of the small map", "blocks among tasks", "channels of the large map", "boxes among tasks"}
        | {"positions", *(f"taps of {n} vectors" for n in range(1, TILES[isa.CHANNELS][1] + 1))},
        of_weight_grad,
        run_correlate,
    ),
    "conv_weight, few channels": Form(
        "conv_weight",
        _OF_FEW_CHANNELS,
        _AXES
        | {"channels of the large map", "boxes among tasks", "rows in vectors"}
        | {f"taps of {n} channels" for n in (1, 2, 3)},
        of_few_channels,
        run_correlate,
    ),
}
