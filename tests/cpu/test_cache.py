"""Machine code that Numba keeps on disk: loaded while all sources are the same, made anew when any of them changes."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cupy_kst
from tests.support.skips import need_compiled

need_compiled()

from cupy_kst.cpu.jit import cache

_HOME = Path(cache.__file__).parent
# One entry point of each kind, and what Numba says of them.
_PROGRAM = """
import json
from cupy_kst.cpu.jit import cache, pool
from cupy_kst.cpu.jit.pack import kernel

made = kernel.RUN_COMBINE.compiled("f")
assert made.address
print(json.dumps([cache.stamp(), made.cache_hits, sum(pool.lead.stats.cache_hits.values())]))
"""


@pytest.fixture
def _copy(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package, whose machine code is kept beside its sources."""
    package = tmp_path / "cupy_kst"
    shutil.copytree(Path(cupy_kst.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "cuda"))
    return tmp_path


def _run(folder: Path) -> list[Any]:
    """Return the stamp, and how often each kind of entry point has been found on disk, in a process of its own."""
    there = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    command = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(
        command, cwd=folder, env=there | {"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True
    )
    found: list[Any] = json.loads(done.stdout)
    return found


def _kept(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.rglob("*.nb[ci]"))


@pytest.mark.long(but=lambda source: source == "sums.py")
@pytest.mark.parametrize("source", ["jit/atomics.py", "sums.py"])
def test_a_changed_source_is_compiled_anew(_copy: Path, source: str) -> None:
    stamp, *hits = _run(_copy)
    assert hits == [0, 0]
    kept = _kept(_copy)
    assert len(kept) == 6 and all(stamp in name for name in kept), "an index and the code of three functions"
    assert _run(_copy) == [stamp, 1, 1]
    assert _kept(_copy) == kept
    with (_copy / "cupy_kst" / "cpu" / source).open("a") as file:
        file.write("#")
    changed, *hits = _run(_copy)
    assert changed != stamp
    assert hits == [0, 0]
    assert len(_kept(_copy)) == 6 and all(changed in name for name in _kept(_copy)), "the old ones are removed"
    assert _run(_copy) == [changed, 1, 1]


def test_each_source_is_in_the_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = shutil.copytree(_HOME, tmp_path / "jit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in cache.OUTSIDE:
        shutil.copy(_HOME.parent / name, tmp_path)
    monkeypatch.setattr(cache, "files", lambda package: home if package.endswith(".jit") else tmp_path)
    stamp = cache.stamp.__wrapped__
    before, sources = stamp(), [*home.rglob("*.py"), *(tmp_path / name for name in cache.OUTSIDE)]
    assert before == cache.stamp() and len(sources) > 30
    for source in sources:
        text = source.read_bytes()
        source.write_bytes(text + b"#")
        assert stamp() != before, source
        source.write_bytes(text)


@pytest.mark.long
def test_only_entry_points_are_kept(_copy: Path) -> None:
    _run(_copy)
    assert {name.partition(".")[2].rpartition("_")[0] for name in _kept(_copy)} == {*("combine", "lead", "serve")}


def test_compiled_code_is_made_of_the_sources_that_are_stamped() -> None:
    """What it imports from outside of its package is in the hash, too, but for what only plans use."""
    for file in sorted(_HOME.rglob("*.py")):
        tree = ast.parse(file.read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        if not any((node.module or "").split(".")[-1] in ("cache", "intrinsics") for node in imports if node.level):
            continue
        depth = len(file.relative_to(_HOME).parts)
        outside = {f"{node.module}.py" for node in imports if node.level > depth}
        assert outside <= set(cache.OUTSIDE), file
