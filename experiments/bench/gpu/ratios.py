"""Ratios of times of a row: PyTorch's, and the baseline's, over ours."""

from __future__ import annotations

from experiments.bench.gpu.pytorch import TORCH
from experiments.harness.rows import Row
from experiments.peers.backends import OURS


def ratios_of(found: dict[str, Row], natural: str, figure: str) -> dict[str, dict[str, float]]:
    """Return the time of PyTorch over that of each of ours, by role.

    `same` is in the natural layout of the kind, `best` that of the faster layout of either. The baseline's is its own
    time over that of the others.
    """
    times: dict[str, dict[str, float]] = {}
    for backend in found.values():
        if "failed" not in backend:
            times.setdefault(backend["role"], {})[backend["data_format"]] = backend[figure]["median_s"]
    ratios: dict[str, dict[str, float]] = {}
    for role in times:
        if role not in OURS:
            continue
        ours, of = times[role], ratios.setdefault(role, {})
        for other, theirs in times.items():
            if other == TORCH:
                of |= {"same": theirs[natural] / ours[natural]} if natural in theirs and natural in ours else {}
                of["best"] = min(theirs.values()) / min(ours.values())
            elif other not in OURS and natural in ours:
                of[other] = theirs[natural] / ours[natural]
    return ratios
