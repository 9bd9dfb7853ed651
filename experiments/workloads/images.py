"""Photographs as float arrays: scikit-learn's bundled flower, or a file of the user's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from experiments.errors import ExperimentError, reason


class Photo(NamedTuple):
    """A square RGB photograph: values in [0, 1], shape (side, side, 3), and where it comes from."""

    pixels: NDArray[np.float32]
    name: str
    original_size: tuple[int, int]
    enlarged: bool


def load(path: Path | None, side: int, option: str = "--image") -> Photo:
    """Return the central `side` x `side` pixels of a picture, or of the bundled photograph if `path` is None.

    The central square of a picture with a shorter edge is enlarged to that size. `option` is the one that named the
    picture, for errors.
    """
    if path is None:
        # Imported here: an own picture needs no scikit-learn.
        from sklearn.datasets import load_sample_image

        image, name = Image.fromarray(load_sample_image("flower.jpg")), "flower.jpg of scikit-learn"
    else:
        image, name = _open(path, option), path.name
    return Photo(centre(image, side), name, image.size, min(image.size) < side)


def centre(image: Image.Image, side: int) -> NDArray[np.float32]:
    """Return the central `side` x `side` pixels of an RGB picture, values in [0, 1]; smaller ones are enlarged."""
    # Cropped before it is enlarged: a long strip would otherwise become an enormous picture first.
    edge = min(side, *image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    crop = image.crop((left, top, left + edge, top + edge))
    if edge < side:
        crop = crop.resize((side, side), Image.Resampling.BICUBIC)
    pixels: NDArray[np.float32] = np.asarray(crop, dtype=np.float32) / np.float32(255)
    return pixels


def _open(path: Path, option: str) -> Image.Image:
    """Open a picture as 8-bit RGB, turned upright."""
    try:
        with warnings.catch_warnings():
            # Pillow's warnings, of large or oddly stored pictures, are advice for programmers.
            warnings.simplefilter("ignore")
            with Image.open(path) as file:
                upright = ImageOps.exif_transpose(file)
                if upright.mode.startswith("I"):
                    # Pillow clips 16-bit values at 255 where they should be scaled; before 11 it calls them "I".
                    upright = Image.fromarray((np.asarray(upright) // 257).clip(0, 255).astype(np.uint8))
                return upright.convert("RGB")
    except UnidentifiedImageError:
        raise ExperimentError(f"{option} {path}: not an image that Pillow can read") from None
    except Image.DecompressionBombError:
        raise ExperimentError(f"{option} {path}: too many pixels to be a photograph") from None
    except OSError as error:
        raise ExperimentError(f"{option} {path}: cannot be read: {reason(error)}") from None
    except (SyntaxError, ValueError) as error:
        # What Pillow raises for some broken files, according to the format.
        raise ExperimentError(f"{option} {path}: a broken image: {error}") from None
