"""Compiles CUDA text for any architecture without a GPU, with the options that CuPy gives a RawKernel."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pickle
import re
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .checkout import ROOT
from .skips import skip_or_fail

CACHE = ROOT / ".cache" / "nvrtc"

_FUNCTION = re.compile(
    r"Function properties for (?P<name>\w+)\n"
    r"\D*(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\n"
    r".*Used (?P<registers>\d+) registers"
)


class Usage(NamedTuple):
    """What ptxas says that one kernel takes."""

    registers: int
    stack_bytes: int
    spill_bytes: int


class Compiled(NamedTuple):
    """The machine code of one text, ptxas' figures for each of its kernels, and the compiler's warnings."""

    cubin: bytes
    usage: dict[str, Usage]
    warnings: list[str]


def require() -> None:
    """Skip the running test where NVRTC cannot be loaded; in continuous integration fail it."""
    reason = _missing()
    if reason:
        skip_or_fail(reason)


@cache
def _missing() -> str:
    try:
        from cuda.bindings import nvrtc
        from cuda.core import Program  # noqa: F401  (an older cuda-core has it elsewhere)
    except ImportError as error:
        return f"cuda-core is not installed: {error}"
    try:
        nvrtc.nvrtcVersion()
    except Exception as error:  # its type depends on the version of cuda-pathfinder
        return f"NVRTC cannot be loaded: {error}"
    return ""


def compile_text(text: str, architecture: str) -> Compiled:
    """Return the machine code of `text`, from the cache if the same compiler has made it before."""
    from cuda.bindings import nvrtc

    _, *version = nvrtc.nvrtcVersion()
    key = hashlib.sha256(repr((text, architecture, version)).encode()).hexdigest()
    cubin, usage, warnings = pickle.loads(_kept(f"{key}.plain", lambda: _plain(_compile(text, architecture))))
    return Compiled(cubin, {name: Usage(*each) for name, each in usage.items()}, warnings)


def _plain(compiled: Compiled) -> bytes:
    """Return what the cache keeps: it names no class, so that it can be read wherever this module lies."""
    return pickle.dumps(
        (compiled.cubin, {name: tuple(each) for name, each in compiled.usage.items()}, compiled.warnings)
    )


def _kept(name: str, make: Callable[[], bytes]) -> bytes:
    """Return the bytes of a file of the cache, made if it is not there."""
    path = CACHE / name
    if path.is_file():
        return path.read_bytes()
    made = make()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=CACHE, delete=False) as file:
        file.write(made)
    Path(file.name).replace(path)
    return made


def ptx(text: str, architecture: str) -> str:
    """Return what NVRTC makes of `text` before ptxas, which drops what it can prove to be needless."""
    from cuda.bindings import nvrtc

    # cuda.core asks the driver before it makes PTX, and there may be none.
    options = ["--std=c++17", "-ftz=true", "--device-as-default-execution-space", f"-arch=compute_{architecture[3:]}"]
    encoded = [option.encode() for option in options]
    program = _checked(nvrtc.nvrtcCreateProgram(text.encode(), b"kernel.cu", 0, [], []))
    _checked(nvrtc.nvrtcCompileProgram(program, len(encoded), encoded))
    made = b" " * _checked(nvrtc.nvrtcGetPTXSize(program))
    _checked(nvrtc.nvrtcGetPTX(program, made))
    _checked(nvrtc.nvrtcDestroyProgram(program))
    return made.decode()


def _checked(returned: tuple[Any, ...]) -> Any:
    status, *values = returned
    assert status == 0, status
    return values[0] if values else None


def _compile(text: str, architecture: str) -> Compiled:
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(
        arch=architecture,
        std="c++17",
        ftz=True,
        device_as_default_execution_space=True,
        ptxas_options="-v",
    )
    log = io.StringIO()
    cubin = Program(text, "c++", options).compile("cubin", logs=log).code
    usage = {
        found["name"]: Usage(int(found["registers"]), int(found["stack"]), int(found["stores"]) + int(found["loads"]))
        for found in _FUNCTION.finditer(log.getvalue())
    }
    return Compiled(bytes(cubin), usage, [line for line in log.getvalue().splitlines() if "warning" in line])


def machine_code(cubin: bytes) -> str:
    """Return the disassembly of a cubin, or skip where nvdisasm is missing; several tests read the same one."""
    tool = _nvdisasm()
    if tool is None:
        skip_or_fail("nvdisasm is missing: pip install nvidia-cuda-nvdisasm")
    key = hashlib.sha256(repr((cubin, _version(tool))).encode()).hexdigest()
    return zlib.decompress(_kept(f"{key}.sass", lambda: zlib.compress(_disassemble(cubin, tool), 1))).decode()


def _disassemble(cubin: bytes, tool: Path) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        # Without the analysis of what jumps by a stack of addresses, which nothing here reads.
        command = [str(tool), "--no-dataflow", file.name]
        return subprocess.run(command, capture_output=True, check=True).stdout


@cache
def _version(tool: Path) -> str:
    return subprocess.run([str(tool), "--version"], capture_output=True, text=True, check=True).stdout


@cache
def _nvdisasm() -> Path | None:
    package = importlib.util.find_spec("nvidia")
    folders = [] if package is None else map(Path, package.submodule_search_locations or [])
    found = (path for folder in folders for path in folder.rglob("nvdisasm") if os.access(path, os.X_OK))
    return next(found, None)
