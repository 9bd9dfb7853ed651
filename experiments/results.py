"""Result files: one JSON document per run, written atomically, checked when read."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from experiments.environment import commit as current_commit
from experiments.environment import device_label
from experiments.errors import ExperimentError, reason

SCHEMA = 1
RESULTS = Path(__file__).resolve().parent / "results"


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
        What `experiments.environment.record` returned.
    parameters : dict
        What the run was asked to do.
    rows : list of dict
        The figures; `experiments.harness.compare` says which.
    """

    schema: int = SCHEMA
    experiment: str
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    commit: str | None = field(default_factory=current_commit)
    environment: dict[str, Any]
    parameters: dict[str, Any]
    rows: list[dict[str, Any]]

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
        partial = path.with_name(path.name + ".part")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise ExperimentError(f"cannot write {path}: {reason(error)}") from None


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


def writable_folder(path: Path) -> Path:
    """Create the folder `path` if need be and prove that files can be written there, before minutes are spent."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ExperimentError(f"cannot write to {path}: {reason(error)}") from None
    return path
