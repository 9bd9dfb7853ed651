"""Arrays of multipliers: the models' cycles against passes counted one by one, and energy from made-up counters."""

from __future__ import annotations

import ctypes
from itertools import count, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from experiments.harness import energy, results
from experiments.harness.devices import Device
from experiments.harness.frame import QUICK, Settings
from experiments.harness.timing import CpuClock
from experiments.papers.d_split import network_layers
from experiments.papers.d_split.arrays import experiment as d_arrays
from experiments.papers.d_split.arrays.models import Array, Convolution, DotProducts, Grid
from experiments.peers.libraries import Peers

from .running import Runner

RUN = ("d_arrays", "--quick", "--device", "cpu", "--threads", 1)


# Models


def passes_of_dot_products(array: DotProducts, one: Convolution) -> int:
    """Go through the loops that the model stands for."""
    outer = product(
        range(one.rows),
        range(one.columns),
        range(one.taps),
        range(0, one.in_channels, array.length),
        range(0, one.out_channels, array.lanes),
    )
    return sum(1 for _ in outer)


def passes_of_grid(array: Grid, one: Convolution) -> int:
    """Put the tiles of all maps on the grid, as many maps at a time as stand side by side."""
    beside = max(array.height // one.rows, 1) * max(array.width // one.columns, 1)
    outer = product(
        range(0, one.rows, array.height),
        range(0, one.columns, array.width),
        range(0, one.out_channels, beside),
        range(one.taps),
        range(one.in_channels),
    )
    return sum(1 for _ in outer)


CONVOLUTIONS = [
    Convolution(*shape)
    for shape in [(1, 1, 1, 1, 1), (4, 4, 4, 8, 8), (5, 5, 9, 3, 7), (3, 9, 2, 5, 12), (8, 2, 4, 4, 9), (2, 2, 4, 3, 5)]
]


@pytest.mark.parametrize("one", CONVOLUTIONS)
def test_cycles_are_the_passes(one: Convolution) -> None:
    dots, grid = DotProducts(4, 2), Grid(4, 4)
    assert dots.cycles(one) == passes_of_dot_products(dots, one)
    assert grid.cycles(one) == passes_of_grid(grid, one)


def test_cycles_by_hand() -> None:
    assert DotProducts(16, 16).cycles(Convolution(8, 8, 25, 256, 128)) == 64 * 25 * 16 * 8
    # 17 rows take two tiles of 16 each way; of maps of 8 x 8 four stand side by side.
    assert Grid(16, 16).cycles(Convolution(17, 17, 4, 10, 3)) == 4 * 3 * 4 * 10
    assert Grid(16, 16).cycles(Convolution(8, 8, 4, 10, 6)) == 2 * 4 * 10


@pytest.mark.parametrize("array", [DotProducts(16, 16), DotProducts(8, 32), Grid(16, 16), Grid(8, 32)])
def test_no_array_does_more_than_its_multipliers_can(array: Array) -> None:
    for network in network_layers.NETWORKS:
        for layer in network_layers.of(network):
            for way in (d_arrays.nzp, d_arrays.stacked, d_arrays.apart):
                for part in way(layer):
                    assert array.cycles(part) * array.multipliers >= part.macs


def test_convolutions_multiply_what_the_costs_say() -> None:
    for network in network_layers.NETWORKS:
        counted = network_layers.macs(network)
        for way, expected in (
            (d_arrays.nzp, counted.nzp),
            (d_arrays.stacked, counted.split_done),
            (d_arrays.apart, counted.split),
        ):
            assert sum(part.macs for layer in network_layers.of(network) for part in way(layer)) == expected


# Energy


def powercap(folder: Path, **packages: tuple[str, int]) -> None:
    """Make a folder of counters like Linux's, each of a name and a number of microjoules."""
    for zone, (name, microjoules) in packages.items():
        made = folder / zone.replace("_", ":").replace("rapl", "intel-rapl", 1)
        made.mkdir(exist_ok=True)
        (made / "name").write_text(name + "\n")
        (made / "energy_uj").write_text(f"{microjoules}\n")
        (made / "max_energy_range_uj").write_text("1000000\n")


def test_rapl_adds_packages_and_runs_over(tmp_path: Path) -> None:
    powercap(tmp_path, rapl_0=("package-0", 900_000), rapl_1=("package-1", 5), rapl_0_0=("core", 7), rapl_2=("psys", 9))
    meter = energy.meter(Device(), tmp_path)
    assert meter.joules() == 0
    powercap(tmp_path, rapl_0=("package-0", 950_000), rapl_0_0=("core", 900), rapl_2=("psys", 999))
    assert meter.joules() == pytest.approx(0.05)
    powercap(tmp_path, rapl_0=("package-0", 20_000), rapl_1=("package-1", 30_005))
    assert meter.joules() == pytest.approx(0.05 + 0.07 + 0.03)


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    with pytest.raises(energy.NoMeter, match="no RAPL counter"):
        energy.meter(Device(), tmp_path)


@pytest.mark.parametrize("what", ["missing", "broken"])
def test_a_counter_that_cannot_be_read_is_told(tmp_path: Path, what: str) -> None:
    powercap(tmp_path, rapl_0=("package-0", 1))
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    counter.unlink() if what == "missing" else counter.write_text("nothing")
    with pytest.raises(energy.NoMeter, match=r"intel-rapl:0/energy_uj cannot be read: (no such file|invalid literal)"):
        energy.meter(Device(), tmp_path)


class Library:
    """NVML as a GPU's driver brings it, for one device at one bus address."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.energies = count(5_000, 250)

    def nvmlInit_v2(self) -> int:
        return self.code

    def nvmlDeviceGetHandleByPciBusId_v2(self, bus: bytes, handle: Any) -> int:
        assert bus == b"0000:01:00.0"
        ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = 42
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: ctypes.c_void_p, millijoules: Any) -> int:
        assert handle.value == 42
        ctypes.cast(millijoules, ctypes.POINTER(ctypes.c_ulonglong))[0] = next(self.energies)
        return 0


def cupy(waited: list[int]) -> Any:
    runtime = SimpleNamespace(getDevice=lambda: 3, deviceGetPCIBusId={3: "0000:01:00.0"}.__getitem__)
    device = SimpleNamespace(synchronize=lambda: waited.append(1))
    return SimpleNamespace(cuda=SimpleNamespace(runtime=runtime, Device=lambda: device))


def test_nvml_reads_the_current_device_when_it_rests() -> None:
    waited: list[int] = []
    meter = energy.Nvml(cupy(waited), Library())
    before = len(waited)
    assert meter.joules() == 5.25
    assert meter.joules() == 5.5
    assert len(waited) == before + 2


def test_nvml_that_fails_is_told() -> None:
    with pytest.raises(energy.NoMeter, match="nvmlInit_v2 of NVML returned 9"):
        energy.Nvml(cupy([]), Library(9))


class Ticks:
    """A meter that counts a joule between any two looks."""

    source = "ticks"

    def __init__(self) -> None:
        self.looks = count()

    def joules(self) -> float:
        return float(next(self.looks))


def settings() -> Settings:
    return Settings(Device(), CpuClock(), QUICK, True, None, 1, Peers())


def test_energy_of_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "meter", lambda device: Ticks())
    clock = count()
    monkeypatch.setattr(d_arrays, "time", SimpleNamespace(perf_counter=lambda: next(clock) / 4))
    monkeypatch.setattr(d_arrays, "QUICK_SECONDS", 1.0)
    rows = d_arrays.energy_rows("SNGAN", settings())
    assert [row["method"] for row in rows] == ["zero_insertion", "split", "auto"]
    # Looks at the clock a quarter of a second apart: calls after 1/4, 2/4 and 3/4, and the end after 5/4.
    for row in rows:
        assert row["joules"] == pytest.approx(1 / 3)
        assert row["watts"] == pytest.approx(1 / 1.25)


# A run


def test_run_without_a_meter(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(device: Device) -> energy.Meter:
        raise energy.NoMeter("no counter here")

    monkeypatch.setattr(energy, "meter", none)
    code, out, err = run(*RUN, "--out", tmp_path)
    assert (code, err) == (0, "")
    assert "Not measured: no counter here." in out
    assert "DCGAN     not measured" in out
    assert "2.41x to 4.34x" in out
    result = results.read(tmp_path / "d_arrays.json")
    assert len([row for row in result.rows if row["kind"] == "cycles"]) == 2 * 3 * 6
    (row,) = (
        row
        for row in result.rows
        if row["kind"] == "cycles" and (row["network"], row["array"], row["side"]) == ("FST", "dot products", 16)
    )
    # 128 x 128 x 64 outputs of 128 channels and 256 x 256 x 32 of 64, by 9 taps; split by 4 taps of 4 sub-filters.
    assert row["nzp_cycles"] == 9 * (128**2 * 8 * 4 + 256**2 * 4 * 2)
    assert row["stacked_cycles"] == row["apart_cycles"] == 4 * 4 * (64**2 * 8 * 4 + 128**2 * 4 * 2)
    with Image.open(tmp_path / "d_arrays.png") as image:
        assert (image.format, image.width) == ("PNG", 1650)
        assert np.asarray(image.convert("L")).std() > 20


def test_run_with_a_meter(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Ticks()
    monkeypatch.setattr(energy, "meter", lambda device: meter)
    monkeypatch.setattr(d_arrays, "QUICK_SECONDS", 0.01)
    code, out, err = run(*RUN, "--out", tmp_path)
    assert (code, err) == (0, "")
    assert "Measured by ticks" in out
    rows = {row["method"]: row for row in results.read(tmp_path / "d_arrays.json").rows if row["kind"] == "energy"}
    saved = f"{1 - rows['split']['joules'] / rows['zero_insertion']['joules']:.0%}"
    assert saved in next(line for line in out.splitlines() if line.startswith("DCGAN") and " W" in line)
