"""Compiles a kernel's text with g++ into a program that serves its launches; programs are kept on disk by hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from .errors import OWN, EmulatorError

HERE = Path(__file__).parent
# Programs kept on disk: the least recently used go first.
KEPT = 2000

# Warnings count in the plain build only: instrumented code draws some from g++ that the text does not deserve.
_WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function")
# nvcc and NVRTC accept float4 loads from float arrays, which type-based aliasing would miscompile.
# Reports tell functions and lines: what debug information tells of variables takes a fifth of a compilation.
_KERNEL = ("-std=c++17", "-O1", "-g1", "-ffp-contract=off", "-fno-strict-aliasing")
# memset and memcpy are intercepted by the sanitizers: a loop of the scheduler's must not become one.
_HOST = ("-std=c++17", "-O2", "-DKST_HOST", "-fno-tree-loop-distribute-patterns")
_UNDEFINED = "undefined,bounds-strict,float-cast-overflow"
SANITIZE = {
    "plain": _WARNINGS,
    "asan": (
        f"-fsanitize=address,{_UNDEFINED}",
        "-fno-sanitize=vptr",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
        "-O0",  # to compile instrumented code well takes longer than to run it
    ),
    "tsan": ("-fsanitize=thread",),
}
_DEFINE = {"plain": (), "asan": ("-DKST_ASAN",), "tsan": ("-DKST_TSAN",)}

# Where it is installed, gold links a program in 30 ms, GNU ld in 90.
_LINKER = ("-fuse-ld=gold",) if shutil.which("ld.gold") else ()

# One lock per hash value: threads that ask for the same program wait for one compilation.
_LOCKS = tuple(threading.Lock() for _ in range(64))


@lru_cache(maxsize=1)
def available() -> tuple[bool, str]:
    """Return whether the emulator can run here, and why not."""
    if sys.platform != "linux":
        return False, f"the emulator needs Linux, not {sys.platform}"
    if shutil.which("g++") is None:
        return False, "the emulator needs g++, which is not on the PATH"
    return True, ""


@lru_cache(maxsize=1)
def _sources() -> str:
    """Return what every program depends on besides the kernel's text: the C++ side and the compiler."""
    ok, reason = available()
    if not ok:
        raise EmulatorError(reason)
    version = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
    paths = sorted([*HERE.glob("*.h"), *HERE.glob("*.cpp")])
    return version + "".join(f"\n{path.name}\n{path.read_text()}" for path in paths)


def cache_directory() -> Path:
    """Return where programs are kept: CUPY_KST_EMULATOR_CACHE, or .cache/emulator in the checkout."""
    named = os.environ.get("CUPY_KST_EMULATOR_CACHE")
    path = Path(named) if named else HERE.parents[1] / ".cache" / "emulator"
    path.mkdir(parents=True, exist_ok=True)
    return path


@lru_cache(maxsize=4)
def prune(directory: Path) -> None:
    """Remove the programs that were used longest ago, once per process."""
    used = []
    for path in directory.iterdir():
        # Another process may be doing the same.
        with suppress(FileNotFoundError):
            if path.is_file():
                used.append((path.stat().st_mtime, path))
    if len(used) > KEPT:
        for _, path in sorted(used)[: len(used) - KEPT // 2]:
            path.unlink(missing_ok=True)


def _compile(name: str, target: Path, arguments: list[str], source: str) -> None:
    """Run g++ in a directory of its own and move the result to `target` at once, as other processes may do the same."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as folder:
        output = Path(folder) / "output"
        # Programs name the text's files as its #line directives do, and the emulator's below `OWN`: by no checkout.
        link = Path(folder) / OWN
        link.parent.mkdir()
        link.symlink_to(HERE)
        command = ["g++", *arguments, f"-ffile-prefix-map={folder}=.", "-o", str(output)]
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(command, input=source, capture_output=True, text=True, cwd=folder, env=environment)
        if done.returncode:
            raise EmulatorError(f"{name} does not compile\n\n{done.stderr}")
        output.replace(target)


def _cached(name: str, suffix: str, arguments: list[str], flags: tuple[str, ...], source: str = "") -> Path:
    """Return what g++ makes of `source` by `arguments`: `flags`, and paths of files that `_sources` hashes."""
    digest = hashlib.sha256(repr((flags, OWN, source, _sources())).encode()).hexdigest()[:32]
    directory = cache_directory()
    prune(directory)
    path = directory / f"{digest}{suffix}"
    with _LOCKS[int(digest[:8], 16) % len(_LOCKS)]:
        try:
            os.utime(path)
        except FileNotFoundError:
            _compile(name, path, arguments, source)
    return path


def _host(build: str) -> Path:
    flags = (*_HOST, *_DEFINE[build])
    return _cached("the emulator's host", ".o", [*flags, "-c", f"{OWN}/host.cpp"], flags)


def program(text: str, name: str, build: str) -> Path:
    """Return the program that launches kernel `name` of `text`, compiled if it is not in the cache."""
    source = f'#line 1 "{name}.cu"\n{text}\n#line 1 "the entry of {name}"\nKST_KERNEL({name})\n'
    flags = (*_KERNEL, *SANITIZE[build], *_LINKER)
    files = ["-include", f"{OWN}/shim.h", "-x", "c++", "-", "-x", "none", str(_host(build))]
    return _cached(f"kernel {name}", "", [*flags, *files], flags, source)
