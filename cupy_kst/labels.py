"""Layouts of maps, and errors that speak of shapes by the names and in the layout that the caller has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

DataFormat = Literal["channels_first", "channels_last"]
Sizes = tuple[int, ...]
T = TypeVar("T")


def channels_first_shape(shape: Sizes, rank: int, data_format: str) -> Sizes:
    """Return a map's shape with its channels in front of the `rank` spatial axes."""
    if data_format != "channels_last" or len(shape) <= rank:
        return shape
    return (*shape[: -rank - 1], shape[-1], *shape[-rank - 1 : -1])


def shape_in_format(shape: Sizes, rank: int, data_format: str) -> Sizes:
    """Return the shape in a format of a map whose channels are in front: the reverse of `channels_first_shape`."""
    if data_format != "channels_last" or len(shape) <= rank:
        return shape
    return (*shape[: -rank - 1], *shape[-rank:], shape[-rank - 1])


class Labels(NamedTuple):
    """What a caller calls the arrays, or the shapes, of a convolution, and how its maps lie.

    Attributes
    ----------
    input, weight, output : str
        Names of arguments; one that ends in "_shape" or "_size" is itself a shape.
    data_format : str
        Layout of the input and the output; "" where the caller has no choice and channels are first.
    """

    input: str = "input_shape"
    weight: str = "weight_shape"
    output: str = "output_size"
    data_format: str = ""

    @property
    def forward(self) -> str:
        """The end of a message on the options of a gradient, which callers leave out."""
        return "; stride and padding are those of the forward call" if self.output == "grad_output" else ""


def in_both_formats(input: str, weight: str, output: str) -> dict[str, Labels]:
    """Return labels by the format of the maps."""
    formats = ("channels_first", "channels_last")
    return {data_format: Labels(input, weight, output, data_format) for data_format in formats}


class ShapeError(ValueError):
    """A rule that shapes break, told by the names that a caller has for them.

    Parameters
    ----------
    text : str
        The message, in which ``{input}`` stands for "input of shape (1, 2, 3)", ``{input_is}`` for "input has shape
        (1, 2, 3)", and ``{input_shape}`` for the shape alone; ``{axes}`` for the axes of a map, and ``{makes}`` for the
        output that a call would make, `made`, beside that which the caller gave, if there is one.
    rank : int
        Number of spatial axes.
    hint : callable, optional
        Returns the end of the message for labels.
    **shapes
        By the labels' fields or other words; maps have their channels in front.
    """

    def __init__(
        self, text: str, rank: int, hint: Callable[[Labels], str] = lambda labels: "", **shapes: Sizes
    ) -> None:
        self._text, self._rank, self._hint, self._shapes = text, rank, hint, shapes
        super().__init__(self.told(Labels()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the message as it is told here."""
        return ValueError, (str(self),)

    def told(self, labels: Labels) -> str:
        """Return the message for a caller who has these labels."""
        first = labels.data_format != "channels_last"
        words: dict[str, str] = {"axes": "batch, in_channels, *spatial" if first else "batch, *spatial, in_channels"}
        for role, shape in self._shapes.items():
            shown = shape if role == "weight" else shape_in_format(shape, self._rank, labels.data_format)
            name = getattr(labels, role, role)
            is_shape = name.endswith(("_shape", "_size"))
            words[role] = f"{name}={shown}" if is_shape else f"{name} of shape {shown}"
            words[f"{role}_is"] = f"{name}={shown}" if is_shape else f"{name} has shape {shown}"
            words[f"{role}_shape"] = str(shown)
        if "made" in self._shapes:
            given = words.get("output_is")
            made = words["made_shape"]
            words["makes"] = f"{given}, but would need {made}" if given else f"the output would have shape {made}"
        return self._text.format(**words) + self._hint(labels)

    def beside(self, output: Sizes) -> ShapeError:
        """Return the error for a caller who gave an output of this shape, its channels in front."""
        return ShapeError(self._text, self._rank, self._hint, **{**self._shapes, "output": output})


def resolve(make: Callable[..., T], labels: Labels, rank: int, shape: Sizes, *others: Any, **options: Any) -> T:
    """Return the geometry that `make` makes for a map of this shape, and for what else it takes.

    Errors are told by the labels; `shape` is in their layout.
    """
    try:
        return make(channels_first_shape(shape, rank, labels.data_format), *others, **options)
    except ShapeError as error:
        raise ValueError(error.told(labels)) from None
