"""The text of kernels: where it is found, how headers and constants get into it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cupy_kst.geometry import Axis
from cupy_kst.gpu.build import source

FOUR = Axis(kernel=4, stride=2, dilation=3)


def test_headers_are_inlined_once_with_their_lines() -> None:
    text = source.text("unified", "float32")
    assert '#include "' not in text
    for name in ("unified.cu", "gather.cuh", "numeric.cuh", "common.cuh", "complex.cuh", "sixteen.cuh"):
        assert text.count(f'#line 1 "{name}"') == 1


@pytest.mark.parametrize("stem", ["unified", "segregated", "zero_insertion", "split"])
def test_line_directives_name_the_lines_of_the_files(stem: str) -> None:
    """What a compiler says of line n of a file is about line n of that file."""
    name, number = "", 0
    checked = 0
    for line in source.text(stem, "float16").splitlines():
        directive = re.match(r'#line (\d+) "(.+)"', line)
        if directive:
            number, name = int(directive[1]), directive[2]
            continue
        if name:
            original = (source.directory() / name).read_text().splitlines()[number - 1]
            assert line == original or (not line and original == "#pragma once")
            checked += 1
            number += 1
    assert checked > 100


def test_generic_text_serves_every_geometry_and_specialised_text_has_literals() -> None:
    generic = source.text("unified", "float32")
    assert "#define KW (p.kernel_w)\n" in generic
    special = source.text("unified", "float32", constants=(Axis(), FOUR, FOUR))
    wide = source.text("unified", "float32", wide=True, constants=(Axis(), FOUR, FOUR))
    assert "#define KW 4LL\n" in wide
    for line in ("#define KD 1", "#define KW 4", "#define SW 2", "#define DW 3", "#define GW 1", "#define VW 1"):
        assert line + "\n" in special
    assert special.split("#line", 1)[1] == generic.split("#line", 1)[1]


def test_sizes_and_padding_do_not_change_the_text() -> None:
    assert "in_size" not in source.text("unified", "float32", constants=(Axis(), FOUR, FOUR))


@pytest.mark.parametrize(
    ("dtype", "storage", "compute", "bits"),
    [
        ("float16", "unsigned short", "float", (1, 0)),
        ("bfloat16", "unsigned short", "float", (0, 1)),
        ("float32", "float", "float", (0, 0)),
        ("float64", "double", "double", (0, 0)),
        ("complex64", "Complex<float>", "Complex<float>", (0, 0)),
        ("complex128", "Complex<double>", "Complex<double>", (0, 0)),
    ],
)
def test_types(dtype: str, storage: str, compute: str, bits: tuple[int, int]) -> None:
    text = source.text("unified", dtype, wide=True)
    assert f"#define STORAGE {storage}\n#define COMPUTE {compute}\n" in text
    assert "#define STORAGE_IS_HALF {}\n#define STORAGE_IS_BFLOAT {}\n".format(*bits) in text
    assert "#define INDEX long long\n" in text


def test_files_are_found_in_a_checkout_and_in_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = source.directory()
    package = tmp_path / "site" / "cupy_kst"
    (package / "gpu" / "build").mkdir(parents=True)
    monkeypatch.setattr(source, "__file__", str(package / "gpu" / "build" / "source.py"))
    with pytest.raises(FileNotFoundError, match="reinstall"):
        source.directory()
    for folder in (package.parent / "cuda", package / "cuda"):  # the second wins over the first
        folder.mkdir()
        (folder / "common.cuh").write_text((checkout / "common.cuh").read_text())
        assert source.directory() == folder


def test_specialised_constants_are_only_used_in_expressions() -> None:
    """A generic build reads them from memory, so an array size or an #if could not use them."""
    constant = r"\b[KSDGV][DHW]\b"
    for path in source.directory().glob("*.cu*"):
        for line in path.read_text().splitlines():
            assert not re.match(rf"#\s*(if|elif).*{constant}", line), f"{path.name}: {line}"
            assert not re.search(rf"\w+\[[^\]]*{constant}[^\]]*\];", line.partition("=")[0]), f"{path.name}: {line}"
