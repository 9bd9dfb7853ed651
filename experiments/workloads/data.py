"""The pictures and digits that the papers' experiments take: those of scikit-learn, or a folder of the user's."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.errors import ExperimentError, reason
from experiments.workloads import images

Images = NDArray[np.float32]

PICTURES_HELP = (
    "A folder of pictures, or of one folder of pictures per class, such as Kaggle's flowers; by default the two "
    "photographs of scikit-learn."
)
DIGITS_HELP = "A folder of MNIST's four idx files, also gzipped; by default the digits of scikit-learn."

_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_IDX = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}

_TEST_DIGITS = 360
_SEED = 0


@dataclass(frozen=True)
class Labelled:
    """Images (number, 1, height, width) in [0, 1] and the class of each."""

    images: Images
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """A set of digits to train with and one to test with, and what it is called."""

    name: str
    train: Labelled
    test: Labelled


def photographs(data: Path | None, side: int, most: int) -> dict[str, Images]:
    """Return pictures by class: float32 (number, 3, `side`, `side`) in [0, 1], the central square of each.

    Parameters
    ----------
    data : Path or None
        A folder of pictures or of class folders; None for scikit-learn's two photographs, each a class of its own.
    side : int
        Width and height; smaller pictures are enlarged.
    most : int
        At most so many pictures of each class, the first by name.
    """
    if data is None:
        from sklearn.datasets import load_sample_images

        bundled = load_sample_images()
        return {
            Path(name).name: _batch([images.centre(Image.fromarray(pixels), side)])
            for name, pixels in zip(bundled.filenames, bundled.images, strict=True)
        }
    classes = {folder.name: _pictures(folder) for folder in _entries(data) if folder.is_dir()}
    classes = {name: paths for name, paths in classes.items() if paths} or {data.resolve().name: _pictures(data)}
    if not any(classes.values()):
        raise ExperimentError(f"--data {data}: no pictures in it or in its folders ({' '.join(sorted(_SUFFIXES))})")
    return {
        name: _batch([images.load(path, side, "--data").pixels for path in paths[:most]])
        for name, paths in classes.items()
    }


def digits(data: Path | None) -> Digits:
    """Return MNIST from its four idx files in the folder `data`, or the 8 x 8 digits of scikit-learn for None."""
    if data is None:
        from sklearn.datasets import load_digits

        bundled = load_digits()
        order = np.random.default_rng(_SEED).permutation(len(bundled.target))
        pixels = (bundled.images[order, np.newaxis] / 16).astype(np.float32)
        labels = bundled.target[order].astype(np.int64)
        train, test = slice(_TEST_DIGITS, None), slice(_TEST_DIGITS)
        return Digits(
            "digits of scikit-learn", Labelled(pixels[train], labels[train]), Labelled(pixels[test], labels[test])
        )
    paths = {key: _idx_path(data, name) for key, name in _IDX.items()}
    if missing := [_IDX[key] for key, path in paths.items() if path is None]:
        raise ExperimentError(f"--data {data}: no {', no '.join(missing)} (or the same with .gz)")
    found = {key: _idx(path) for key, path in paths.items() if path}
    return Digits(data.resolve().name, *(_labelled(data, part, found) for part in ("train", "test")))


def _pictures(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.suffix.lower() in _SUFFIXES and path.is_file()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ExperimentError(f"--data {folder}: {reason(error)}") from None


def _batch(pictures: list[Images]) -> Images:
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))


def _idx_path(folder: Path, name: str) -> Path | None:
    # Some copies write a dot for the last hyphen before "idx".
    names = [each + suffix for each in (name, name.replace("-idx", ".idx")) for suffix in ("", ".gz")]
    return next((folder / each for each in names if (folder / each).is_file()), None)


def _idx(path: Path) -> NDArray[np.uint8]:
    """Return the array in an idx file of bytes: two zeros, type 8, the rank, then sizes of four bytes each."""
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, zlib.error) as error:
        raise ExperimentError(f"--data {path}: a broken gzip file: {error}") from None
    except OSError as error:
        raise ExperimentError(f"--data {path}: cannot be read: {reason(error)}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ExperimentError(f"--data {path}: not an idx file of bytes")
    start = 4 + 4 * content[3]
    shape = tuple(map(int, np.frombuffer(content[4:start], ">u4"))) if len(content) >= start else ()
    if len(content) - start != math.prod(shape):
        raise ExperimentError(f"--data {path}: {len(content)} bytes, which is not what its header says")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _labelled(data: Path, part: str, found: dict[tuple[str, str], NDArray[np.uint8]]) -> Labelled:
    pictures, labels = found[part, "images"], found[part, "labels"]
    if pictures.ndim != 3 or labels.ndim != 1 or len(pictures) != len(labels) or not pictures.size:
        raise ExperimentError(
            f"--data {data}: the {part} images have shape {pictures.shape} and their labels {labels.shape}"
        )
    return Labelled(pictures[:, np.newaxis].astype(np.float32) / np.float32(255), labels.astype(np.int64))
