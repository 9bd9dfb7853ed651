"""Pictures and digits for the papers' experiments: scikit-learn's, folders, idx files, and what is wrong with them."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.errors import ExperimentError
from experiments.workloads import data

DRAW = np.random.default_rng(2)


def picture(path: Path, grey: int = 255, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, grey)).save(path)


# Pictures


def test_bundled_photographs() -> None:
    found = data.photographs(None, 224, 5)
    assert list(found) == ["china.jpg", "flower.jpg"]
    for batch in found.values():
        assert (batch.shape, batch.dtype) == ((1, 3, 224, 224), np.float32)
        assert 0 <= batch.min() < 0.1 < 0.9 < batch.max() <= 1
        assert batch.flags.c_contiguous


def test_folder_of_classes(tmp_path: Path) -> None:
    for name, number in (("daisy", 3), ("tulip", 2)):
        for place in range(number):
            picture(tmp_path / name / f"{place}.JPG", 51 * place)
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    picture(tmp_path / ".hidden" / "a.png")
    picture(tmp_path / "cover.png")
    (tmp_path / "daisy" / "notes.txt").write_text("")
    found = data.photographs(tmp_path, 16, 2)
    assert {name: len(batch) for name, batch in found.items()} == {"daisy": 2, "tulip": 2}
    assert found["daisy"].shape == (2, 3, 16, 16)
    np.testing.assert_allclose(found["daisy"][1], 0.2, atol=0.01)


def test_folder_of_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "mine" / "b.png", 255)
    picture(tmp_path / "mine" / "a.png", 0)
    found = data.photographs(tmp_path / "mine", 8, 9)
    assert list(found) == ["mine"]
    assert found["mine"].mean(axis=(1, 2, 3)).tolist() == [0, 1]


def test_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "a.txt").write_text("")
    with pytest.raises(ExperimentError, match="no pictures in it or in its folders"):
        data.photographs(tmp_path, 8, 1)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ExperimentError, match=rf"--data .*a\.{suffix}: "):
        data.photographs(tmp_path, 8, 1)


def test_picture_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(ExperimentError, match=r"a\.png: not an image"):
        data.photographs(tmp_path, 8, 1)


# Digits


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
ARRAYS = tuple(
    DRAW.integers(0, 256 if len(shape) == 3 else 10, shape, dtype=np.uint8)
    for shape in ((6, 4, 4), (6,), (3, 4, 4), (3,))
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, array in zip(NAMES, ARRAYS, strict=True):
        (tmp_path / name).write_bytes(idx(array))
    return tmp_path


def test_bundled_digits() -> None:
    found = data.digits(None)
    assert found.name == "digits of scikit-learn"
    assert found.train.images.shape == (1437, 1, 8, 8)
    assert found.test.images.shape == (360, 1, 8, 8)
    for part in (found.train, found.test):
        assert part.images.dtype == np.float32
        assert (part.images.min(), part.images.max()) == (0, 1)
        assert part.labels.shape == (len(part.images),)
        # All classes are there, none by far the most frequent: the parts are drawn, not cut.
        assert np.bincount(part.labels).min() > len(part.labels) / 20


def as_they_are(folder: Path) -> None: ...


def gzipped(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def with_dots(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))


@pytest.mark.parametrize("change", [as_they_are, gzipped, with_dots])
def test_idx_files(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder)
    found = data.digits(folder)
    assert found.name == folder.name
    for part, images, labels in ((found.train, *ARRAYS[:2]), (found.test, *ARRAYS[2:])):
        assert part.images.dtype == np.float32
        np.testing.assert_array_equal(np.rint(part.images[:, 0] * 255), images)
        np.testing.assert_array_equal(part.labels, labels)


def test_missing_idx_files(folder: Path) -> None:
    (folder / NAMES[1]).unlink()
    (folder / NAMES[2]).unlink()
    with pytest.raises(ExperimentError, match=f"no {NAMES[1]}, no {NAMES[2]} ") as caught:
        data.digits(folder)
    assert NAMES[0] not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an idx file"),
        (b"\0\0\x09\1\0\0\0\1a", "not an idx file"),
        (b"PK\3\4 a zip archive", "not an idx file"),
        (b"\0\0\x08\3\0\0", "not what its header says"),
        (idx(ARRAYS[0])[:-1], "not what its header says"),
        (idx(ARRAYS[0]) + b"a", "not what its header says"),
        (b"\0\0\x08\0", "not what its header says"),
        (idx(ARRAYS[1]), "the train images have shape"),
        (idx(ARRAYS[0][:5]), "the train images have shape"),
        (idx(ARRAYS[0][:0]), "the train images have shape"),
    ],
)
def test_broken_idx_files(folder: Path, content: bytes, words: str) -> None:
    (folder / NAMES[0]).write_bytes(content)
    with pytest.raises(ExperimentError, match=words):
        data.digits(folder)


def test_empty_idx_files(folder: Path) -> None:
    for name, array in zip(NAMES[:2], ARRAYS[:2], strict=True):
        (folder / name).write_bytes(idx(array[:0]))
    with pytest.raises(ExperimentError, match="the train images have shape"):
        data.digits(folder)


@pytest.mark.parametrize("length", [0, 5, 30])
def test_broken_gzip_file(folder: Path, length: int) -> None:
    gzipped(folder)
    path = folder / f"{NAMES[0]}.gz"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ExperimentError, match=f"{NAMES[0]}.gz"):
        data.digits(folder)


def test_gzip_file_with_a_wrong_bit(folder: Path) -> None:
    gzipped(folder)
    path = folder / f"{NAMES[0]}.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ExperimentError, match=r"a broken gzip file|cannot be read|not what"):
        data.digits(folder)
