"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from experiments.errors import ExperimentError, reason


def write(path: Path, data: bytes | str) -> None:
    """Write `data` to `path`; until all of it is there, what stood there before stays."""
    partial = path.with_name(path.name + ".part")
    try:
        try:
            partial.write_bytes(data.encode() if isinstance(data, str) else data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ExperimentError(f"cannot write {path}: {reason(error)}") from None
