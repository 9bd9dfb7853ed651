"""Result files: one JSON document per run, written atomically, checked when read."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from operator import itemgetter
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError, reason
from experiments.harness.environment import commit as current_commit
from experiments.harness.environment import device_label
from experiments.harness.files import write
from experiments.harness.places import EXPERIMENTS

SCHEMA = 1
RESULTS = EXPERIMENTS / "results"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run of one experiment.

    Attributes
    ----------
    schema : int
        Version of this layout.
    experiment : str
        Its name on the command line.
    date : str
        UTC, ISO 8601.
    commit : str or None
        Commit of the checkout, "-dirty" appended if its code was changed; None outside a checkout.
    environment : dict
        What `experiments.harness.environment.record` returned.
    parameters : dict
        What the run was asked to do.
    rows : list of dict
        The figures; `experiments.harness.comparison.compare` says which.
    complete : bool
        Whether the run came to its end.
    """

    schema: int = SCHEMA
    experiment: str
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    commit: str | None = field(default_factory=current_commit)
    environment: dict[str, Any]
    parameters: dict[str, Any]
    rows: list[dict[str, Any]]
    complete: bool = True

    @property
    def device(self) -> str:
        return device_label(self.environment)

    @property
    def file_name(self) -> str:
        """Name under `experiments/results`: one file per experiment and device, so that a new run replaces the old."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.device.lower()).strip("-")
        return f"{self.experiment}-{slug}.json"

    def write(self, path: Path) -> None:
        """Write the result to `path`, all of it or nothing."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write(path, text)


def read(path: Path) -> Result:
    """Return the result that `path` holds."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExperimentError(f"cannot read {path}: {reason(error)}") from None
    except ValueError as error:
        raise ExperimentError(f"{path} is not JSON: {error}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise ExperimentError(f"{path} has schema {schema}, but this version reads schema {SCHEMA}")
    try:
        return Result(**document)
    except TypeError as error:
        raise ExperimentError(f"{path} does not hold a result: {error}") from None


def newest(folder: Path, experiment: str) -> list[tuple[Path, Result]]:
    """Return the newest result of each device, GPUs first, and the file of each."""
    by_device: dict[tuple[bool, str], tuple[str, Path, Result]] = {}
    for path in sorted(folder.glob(f"{experiment}-*.json")):
        run = read(path)
        if not run.complete:
            raise ExperimentError(f"{path} is of a run that did not come to its end")
        try:
            device = (run.environment["device"]["kind"] == "cpu", run.device)
        except (KeyError, TypeError) as error:
            raise lacking(path, error) from None
        by_device[device] = max((run.date, path, run), by_device.get(device, (run.date, path, run)), key=itemgetter(0))
    return [by_device[device][1:] for device in sorted(by_device)]


def lacking(path: Path, error: Exception) -> ExperimentError:
    """Return what to say of a result in which a figure was not found."""
    return ExperimentError(f"{path} lacks a figure: {type(error).__name__} {error}")


def require_same(path: Path, conditions: Sequence[tuple[str, Any, Any]]) -> None:
    """Refuse to go on with the result at `path` if a condition, (name, then, now), has changed."""
    for name, then, now in conditions:
        if then != now:
            raise ExperimentError(f"--resume {path}: its {name} is {then}, here it is {now}: rows would not compare")


def writable_folder(path: Path) -> Path:
    """Create the folder `path` if need be and prove that files can be written there, before minutes are spent."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ExperimentError(f"cannot write to {path}: {reason(error)}") from None
    return path
