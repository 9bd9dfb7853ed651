"""What the device can do at most, measured: bytes copied and products a second, and the least time of a layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from experiments.bench.gpu.machine import Machine
from experiments.bench.gpu.parts import KINDS, Kind

_COPY_BYTES = 2 * 2**30
_SIDE = 8192
_SAMPLES, _CALLS = 5, 5


@dataclass(frozen=True)
class Ceilings:
    """Rates of the device.

    Attributes
    ----------
    bytes_per_s : float
        The rate of a large copy on the device, read and written bytes added up.
    flops_per_s : dict of str to float
        Products and sums of a large matrix product by cuBLAS, by kind. That of tf32x3 is a third of tf32's, of which
        it takes three.
    """

    bytes_per_s: float
    flops_per_s: dict[str, float]

    @property
    def record(self) -> dict[str, Any]:
        return asdict(self)

    def floor(self, kind: str, flops: float, moved: float) -> float:
        """Return the seconds below which nothing that takes so many operations and bytes can be."""
        return max(flops / self.flops_per_s[kind], moved / self.bytes_per_s)


def measure_ceilings(machine: Machine, copy_bytes: int = _COPY_BYTES, backend: int = _SIDE) -> Ceilings:
    """Measure the ceilings, each the best of some samples."""
    with machine.current():
        rates = {name: _product(machine, kind, backend) for name, kind in KINDS.items() if name != "tf32x3"}
        copied = _copy(machine, min(copy_bytes, machine.free_bytes() // 8))
        machine.free()
    return Ceilings(copied, {name: rates["tf32"] / 3 if name == "tf32x3" else rates[name] for name in KINDS})


def _copy(machine: Machine, most: int) -> float:
    torch = machine.torch
    source = torch.empty(most // 4, dtype=torch.float32, device=machine.device).uniform_(-1, 1)
    target = torch.empty_like(source)
    size = int(source.numel()) * 4
    return 2 * size / _least(machine, lambda: target.copy_(source))


def _product(machine: Machine, kind: Kind, backend: int) -> float:
    torch = machine.torch
    machine.allow(kind.rival)
    dtype = getattr(torch, kind.dtype)
    # Random numbers: products of zeros take less power, and so run faster.
    a, b = (torch.empty((backend, backend), dtype=dtype, device=machine.device).uniform_(-1, 1) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * backend**3 / _least(machine, lambda: torch.matmul(a, b, out=out))


def _least(machine: Machine, call: Any) -> float:
    def some() -> None:
        for _ in range(_CALLS):
            call()

    some()
    return min(machine.device_seconds(some) for _ in range(_SAMPLES)) / _CALLS
