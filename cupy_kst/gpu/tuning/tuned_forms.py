"""Forms that `cupy_kst.tune` found fastest, kept in a file of the user's from process to process."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from ...problem import Problem
from ..build import source
from ..select.device import Device

VERSION = 1
# Tuned calls that are kept; the oldest go first.
_MOST = 4096
# Seconds that a writer waits for others.
_PATIENCE = 30


def path() -> Path:
    """Return where tuned forms are kept."""
    caches = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    directory = Path(caches) if Path(caches).is_absolute() else Path.home() / ".cache"
    return directory / "cupy_kst" / f"tuned-{VERSION}.json"


def enabled() -> bool:
    """Return whether calls are to take tuned forms."""
    return os.environ.get("CUPY_KST_TUNED") != "0"


def state() -> int:
    """Return a number that changes when calls may have to take other forms than before."""
    return Store.changes if enabled() else -1


def key(device: Device, method: str, problem: Problem) -> str:
    """Return what tells calls apart that may have different fastest forms, kernels of other texts included."""
    geometry = problem.geometry
    axes = (
        f"{axis.small}:{axis.large} kernel {axis.kernel} stride {axis.stride} dilation {axis.dilation} lo {axis.pad_lo}"
        for axis in geometry.axes
    )
    parts = (
        f"{device.name} {device.capability[0]}.{device.capability[1]}",
        f"kernels {_kernels()}",
        method,
        f"{geometry.samples} samples {geometry.small_channels}:{geometry.large_channels} groups {geometry.groups}",
        *axes,
        problem.dtype.name,
        problem.precision if problem.dtype.name == "float32" else "ieee",
        problem.data_format,
    )
    return ", ".join(parts)


@cache
def _kernels() -> str:
    """Return a short hash of all CUDA text."""
    files = sorted(each for each in source.directory().iterdir() if each.suffix in (".cu", ".cuh"))
    return sha256(b"".join(each.name.encode() + each.read_bytes() for each in files)).hexdigest()[:16]


class Store:
    """Tuned forms by the key of their call. Calls from several threads, and of several processes, are safe.

    The file is read on the first look-up. If it is not what was written, that is warned of once, it counts as empty,
    and the next `put` writes it anew.

    Parameters
    ----------
    path : Path
        The file.
    """

    # Stores count their changes together: a choice that was made before a change may be another one after it.
    changes: ClassVar[int] = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forms: dict[str, dict[str, Any]] | None = None
        self._warned = False
        self._lock = Lock()

    def get(self, key: str) -> str | None:
        """Return the form of a key, None if there is none."""
        with self._lock:
            if self._forms is None:
                self._forms = self._read()
            found = self._forms.get(key)
        return None if found is None else str(found["form"])

    def put(self, key: str, form: str, seconds: float) -> None:
        """Keep the form of a key, with the seconds that it took.

        Raises
        ------
        OSError
            If the file cannot be written, or others have been at it for too long. This process has the form then.
        """
        with self._lock:
            known = self._read() if self._forms is None else self._forms
            self._forms = {**known, key: {"form": form, "seconds": seconds}}
            Store.changes += 1
            self._write(key)

    def _write(self, key: str) -> None:
        """Add the form of a key to what the file has by now."""
        from filelock import FileLock

        assert self._forms is not None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock", timeout=_PATIENCE):
            forms = self._read()
            forms.pop(key, None)
            forms[key] = self._forms[key]
            forms = dict(list(forms.items())[-_MOST:])
            # Readers take no lock: they find the old file or the new one.
            with tempfile.NamedTemporaryFile("w", dir=self.path.parent, delete=False, encoding="utf-8") as new:
                try:
                    json.dump({"version": VERSION, "forms": forms}, new, indent=1)
                    new.close()
                    Path(new.name).replace(self.path)
                finally:
                    Path(new.name).unlink(missing_ok=True)
        self._forms = {**self._forms, **forms}

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            forms = _checked(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            if not self._warned:
                self._warned = True
                warnings.warn(f"tuned forms are ignored: {self.path} is not readable: {error}", stacklevel=2)
            return {}
        return forms


def _checked(content: Any) -> dict[str, dict[str, Any]]:
    """Return the forms of a file's content, or raise a ValueError."""
    if not isinstance(content, dict) or content.get("version") != VERSION or not isinstance(content.get("forms"), dict):
        raise ValueError(f"expected version {VERSION} and forms")
    forms: dict[str, dict[str, Any]] = content["forms"]
    for name, each in forms.items():
        if not isinstance(each, dict) or not isinstance(each.get("form"), str):
            raise ValueError(f"{name!r} has no form")
    return forms


@cache
def store_at(path: Path) -> Store:
    """Return the store of a file, one for all of the process."""
    return Store(path)


def store() -> Store:
    """Return the store of the user."""
    return store_at(path())
