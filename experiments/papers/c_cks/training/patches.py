"""What c_training learns to tell apart: patches of photographs, pictures of class folders, or digits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.errors import ExperimentError
from experiments.workloads import data
from experiments.workloads.data import Labelled

SIDE = 32

HELP = (
    "A folder with one folder of pictures per class, or of MNIST's four idx files; by default patches of the two "
    "photographs of scikit-learn."
)

# The central square of so many pixels of a picture is cut into patches; at most so many pictures of a class.
_SQUARE, _MOST = 128, 60

# Every so many-th patch or picture of a class is for testing.
_TEST = 5


@dataclass(frozen=True)
class ImageSets:
    """Images to train with and to test with, whose names say where they are from and what their classes are."""

    name: str
    train: Labelled
    test: Labelled

    @property
    def classes(self) -> int:
        return int(max(self.train.labels.max(), self.test.labels.max())) + 1


def load(folder: Path | None) -> ImageSets:
    """Return the images of --data, for None those of the two photographs."""
    if folder is None:
        return photographs()
    if any(folder.glob("*-ubyte*")):
        digits = data.digits(folder)
        return ImageSets(f"digits of {digits.name}", digits.train, digits.test)
    return class_folders(folder)


def photographs() -> ImageSets:
    """Return patches of scikit-learn's two photographs, their classes the photograph and its quadrant, eight in all.

    The patches do not overlap, so that none to test with has a pixel of one to train with.
    """
    from sklearn.datasets import load_sample_images

    patches: list[NDArray[np.float32]] = []
    for pixels in load_sample_images().images:
        height, width = (size // 2 for size in pixels.shape[:2])
        channels_first = pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        for top in (0, height):
            for left in (0, width):
                patches.append(_cut(channels_first[np.newaxis, :, top : top + height, left : left + width]))
    return _split("patches of scikit-learn's two photographs, by photograph and quadrant", patches)


def class_folders(folder: Path) -> ImageSets:
    """Return patches of the pictures in class folders."""
    classes = data.photographs(folder, _SQUARE, _MOST)
    if len(classes) < 2:
        raise ExperimentError(f"--data {folder}: needs two folders of pictures or more, one for each class")
    few = [name for name, pictures in classes.items() if len(pictures) < 2]
    if few:
        raise ExperimentError(f"--data {folder}: needs two pictures or more of each class, not one of {', '.join(few)}")
    pictures = _split(f"patches of pictures of {folder.resolve().name}, by class folder", list(classes.values()))
    return ImageSets(pictures.name, *(_all_patches(part) for part in (pictures.train, pictures.test)))


def _all_patches(pictures: Labelled) -> Labelled:
    patches = _cut(pictures.images)
    return Labelled(patches, np.repeat(pictures.labels, len(patches) // len(pictures.images)))


def _cut(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the patches that images (number, channels, height, width) are tiled with, image by image."""
    number, channels, *sizes = images.shape
    rows, columns = (size // SIDE for size in sizes)
    inside = images[:, :, : rows * SIDE, : columns * SIDE]
    tiled = inside.reshape(number, channels, rows, SIDE, columns, SIDE).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(tiled.reshape(-1, channels, SIDE, SIDE))


def _split(name: str, classes: list[NDArray[np.float32]]) -> ImageSets:
    """Return the images of each class divided into those to train and those to test with."""

    def part(is_test: bool) -> Labelled:
        chosen = [images[(np.arange(len(images)) % _TEST == 1) == is_test] for images in classes]
        labels = np.repeat(np.arange(len(chosen)), [len(images) for images in chosen])
        return Labelled(np.concatenate(chosen), labels.astype(np.int64))

    return ImageSets(name, part(False), part(True))
