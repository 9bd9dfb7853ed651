"""Computes a transposed convolution with the installed wheel, and finds the kernels that travelled in it."""

import importlib.util
from pathlib import Path

import numpy as np

import cupy_kst
from cupy_kst.gpu.build import source

package = Path(cupy_kst.__file__).parent
assert "site-packages" in package.parts, f"not the wheel: {package}"
assert source.directory() == package / "cuda", source.directory()
assert (package / "py.typed").is_file()
assert importlib.util.find_spec("cuda") is None, "the wheel put a top-level `cuda` beside NVIDIA's"
for stem in ("unified", "segregated", "zero_insertion"):
    assert stem in source.text(stem, "float32")

row = cupy_kst.conv_transpose1d(np.array([[1.0, 2.0]]), np.array([[[1.0, 10.0, 100.0]]]), stride=2)
assert row.tolist() == [[1.0, 10.0, 102.0, 20.0, 200.0]], row
print(f"cupy_kst {cupy_kst.__version__} computes from its wheel")
