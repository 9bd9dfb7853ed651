"""Energy in joules since some moment, where the machine tells: RAPL of the CPU's packages, NVML of a GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from experiments.errors import reason
from experiments.harness.devices import Device

POWERCAP = Path("/sys/class/powercap")


class Meter(Protocol):
    """Something that counts energy."""

    @property
    def source(self) -> str:
        """What it counts and by which interface."""

    def joules(self) -> float:
        """Return the energy since a moment that stays the same between calls."""


class NoMeter(Exception):
    """This machine does not tell; the message says why."""


def meter(device: Device, powercap: Path = POWERCAP) -> Meter:
    """Return the meter of `device`, or raise NoMeter."""
    return _rapl(powercap) if device.cupy is None else Nvml(device.cupy)


@dataclass
class Rapl:
    """The counters of all processor packages together, memory apart. They run over every few minutes or so."""

    packages: Sequence[Path]
    source: str = "RAPL, all processor packages"
    _before: dict[Path, int] = field(default_factory=dict)
    _total: int = 0

    def joules(self) -> float:
        for package in self.packages:
            now = _number(package / "energy_uj")
            step = now - self._before.get(package, now)
            self._total += step if step >= 0 else step + _number(package / "max_energy_range_uj")
            self._before[package] = now
        return self._total / 1e6


def _rapl(powercap: Path) -> Rapl:
    # "intel-rapl:0:1" is a part of the package "intel-rapl:0", named "core" or "dram"; AMD's have the same names.
    packages = [path for path in sorted(powercap.glob("intel-rapl:*")) if _text(path / "name").startswith("package")]
    if not packages:
        raise NoMeter(f"Linux shows no RAPL counter of this CPU under {powercap}")
    found = Rapl(packages)
    try:
        found.joules()
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise NoMeter(f"the RAPL counter {packages[0] / 'energy_uj'} cannot be read: {why}") from None
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


class Nvml:
    """The counter of one GPU, memory and all, by the driver's own library.

    Parameters
    ----------
    cupy : module
        CuPy, whose current device is meant.
    library : object, optional
        NVML; by default that of the driver.
    """

    source = "NVML, the whole GPU"

    def __init__(self, cupy: Any, library: Any = None) -> None:
        self._cupy = cupy
        try:
            self._nvml = ctypes.CDLL("libnvidia-ml.so.1") if library is None else library
        except OSError as error:
            raise NoMeter(f"NVML cannot be loaded: {error}") from None
        # CUDA and NVML number devices differently.
        bus = cupy.cuda.runtime.deviceGetPCIBusId(cupy.cuda.runtime.getDevice())
        self._handle = ctypes.c_void_p()
        self._call("nvmlInit_v2")
        self._call("nvmlDeviceGetHandleByPciBusId_v2", bus.encode(), ctypes.byref(self._handle))
        self.joules()

    def joules(self) -> float:
        """Return what the counter says when the device has come to rest."""
        self._cupy.cuda.Device().synchronize()
        millijoules = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(millijoules))
        return millijoules.value / 1e3

    def _call(self, name: str, *arguments: Any) -> None:
        if code := getattr(self._nvml, name)(*arguments):
            raise NoMeter(f"{name} of NVML returned {code}")
