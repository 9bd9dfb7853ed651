"""The record of where a figure was measured: device, versions, BLAS, threads, commit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from threadpoolctl import threadpool_info

import cupy_kst
from experiments.harness.devices import Device, logical_cores
from experiments.harness.places import ROOT

_VECTOR_EXTENSIONS = frozenset({"avx", "avx2", "fma", "avx512f", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_tile"})

# Chooses OpenBLAS' kernels, if it is set before NumPy is imported.
CORETYPE = "OPENBLAS_CORETYPE"

# OpenBLAS' names of its kernels that use AVX-512, of which the first run wherever there is any.
WIDE_KERNELS = "SkylakeX"
_AVX512_KERNELS = frozenset({WIDE_KERNELS, "Cooperlake", "SapphireRapids"})

# Libraries that a result may compare with, by the names of their packages.
PEERS = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime"}

# Figures do not depend on what was measured before, so saving a result or rewriting the README makes no tree dirty.
_NOT_CODE = tuple(
    f":(exclude){path}" for path in ("experiments/results", "README.md", "docs/measured.md", "docs/results")
)


def record(device: Device, packages: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """Return the environment of a measurement on `device`, ready for JSON; `packages` are versions to add."""
    library = blas()
    entry: dict[str, Any] = {
        "device": _gpu(device.cupy) if device.cupy is not None else _cpu(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {
            "cupy_kst": cupy_kst.__version__,
            "python": platform.python_version(),
            "numpy": version("numpy"),
            "scipy": version("scipy"),
            # Compiles what the library then computes on a CPU.
            **({"numba": version("numba")} if find_spec("numba") else {}),
            **packages,
        },
        "threads": library["num_threads"] if library else 1,
        "blas": library,
        "thread_pools": _thread_pools(),
        "settings": {name: os.environ[name] for name in (CORETYPE,) if name in os.environ},
        # That of the last minute: above 1 or so, other programs had a share in the times.
        "load_average": os.getloadavg()[0],
    }
    if device.cupy is not None:
        entry["versions"] |= _cuda_versions(device.cupy)
    return entry


def blas() -> dict[str, Any] | None:
    """Return what is known of the BLAS that NumPy calls."""
    return next((pool for pool in _thread_pools() if pool["user_api"] == "blas"), None)


def device_label(environment: dict[str, Any]) -> str:
    """Return what sets one column of results apart from another.

    That is the device and, for a CPU, its number of threads, what compiles for it, and what was set for its BLAS.
    """
    name = str(environment["device"]["name"])
    if environment["device"]["kind"] == "gpu":
        return name
    threads = environment["threads"]
    parts = [name, f"{threads} thread{'s' if threads != 1 else ''}"]
    parts += [] if "numba" in environment["versions"] else ["NumPy alone"]
    parts += [f"{setting}={value}" for setting, value in environment.get("settings", {}).items()]
    return ", ".join(parts)


def versions_label(environment: dict[str, Any]) -> str:
    """Return the versions that matter for the device's figures, for captions."""
    versions = environment["versions"]
    parts = [f"cupy_kst {versions['cupy_kst']}"]
    if environment["device"]["kind"] == "gpu":
        parts += [f"CuPy {versions['cupy']}", f"CUDA {versions['cuda_runtime']}"]
        parts += [f"driver {versions['driver']}"] if versions["driver"] else []
    else:
        if library := environment["blas"]:
            kernels = library["architecture"] or "unnamed architecture"
            parts += [f"{library['internal_api']} {library['version']} ({kernels})"]
        parts += [f"Numba {versions['numba']}"] if "numba" in versions else []
    parts += [f"{title} {versions[name]}" for name, title in PEERS.items() if name in versions]
    return ", ".join([*parts, f"NumPy {versions['numpy']}", f"Python {versions['python']}"])


def slow_blas(environment: dict[str, Any]) -> str:
    """Return one line on a BLAS that leaves vector units of the processor unused, or ``""``."""
    library = environment["blas"]
    if library is None or library["internal_api"] != "openblas" or library["architecture"] in _AVX512_KERNELS:
        return ""
    if "avx512f" not in environment["device"].get("vector_extensions", ()):
        return ""
    if CORETYPE in environment.get("settings", {}):
        takes, better = "is told to take", f"without {CORETYPE}"
    else:
        takes, better = "takes", f"with {CORETYPE}={WIDE_KERNELS}"
    kernels = library["architecture"]
    return f"OpenBLAS {takes} its {kernels} kernels here, though the processor has AVX-512: {better} it may be faster."


def warnings(environment: dict[str, Any]) -> list[str]:
    """Return a line on each thing that spoils times measured on a CPU."""
    idle = environment["device"]["logical_cores"] - environment["load_average"]
    noisy = f"Other programs leave {max(idle, 0):.1f} cores: the times will be noisy, and the ratios with them."
    return [line for line in (noisy if idle < environment["threads"] - 1 else "", slow_blas(environment)) if line]


def commit() -> str | None:
    """Return the checkout's commit, with "-dirty" if its code differs from it; None outside a checkout."""
    top = _run("git", "-C", str(ROOT), "rev-parse", "--show-toplevel")
    head = _run("git", "-C", str(ROOT), "rev-parse", "--verify", "HEAD")
    if not top or not head or Path(top) != ROOT:
        return None
    changes = _run("git", "-C", str(ROOT), "status", "--porcelain", "--", ".", *_NOT_CODE)
    return head + ("-dirty" if changes != "" else "")


def _cpu() -> dict[str, Any]:
    return {
        "kind": "cpu",
        "name": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "logical_cores": logical_cores(),
        "vector_extensions": sorted(_VECTOR_EXTENSIONS.intersection(_cpuinfo("flags").split())),
    }


def _cpuinfo(field: str) -> str:
    """Return what Linux tells of the first processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _gpu(cupy: Any) -> dict[str, Any]:
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "kind": "gpu",
        "name": properties["name"].decode(),
        "capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "l2_bytes": properties["l2CacheSize"],
    }


def _cuda_versions(cupy: Any) -> dict[str, str | None]:
    driver = _run("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return {
        "cupy": cupy.__version__,
        "cuda_runtime": _cuda(cupy.cuda.runtime.runtimeGetVersion()),
        "cuda_driver": _cuda(cupy.cuda.runtime.driverGetVersion()),
        "nvrtc": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "driver": driver.splitlines()[0] if driver else None,
    }


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _thread_pools() -> list[dict[str, Any]]:
    # NumPy's own first: SciPy's wheel brings a second BLAS, which the CPU engine's products do not run on.
    pools = sorted(threadpool_info(), key=lambda pool: "numpy" not in pool["filepath"])
    keys = ("user_api", "internal_api", "version", "architecture", "num_threads")
    return [{key: pool.get(key) for key in keys} for pool in pools]


def _run(*command: str) -> str | None:
    """Return what a program prints, or None if it is not there or fails."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
