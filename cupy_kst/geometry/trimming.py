"""Where trimming sub-filters to what meets real input pays: the rule of the KS-V2 and ConvV2 of arXiv 2306.15951."""

from __future__ import annotations

from .geometry import Geometry

# The paper's code trims batches of at least so many samples, since the rows of its products are the batch, and where
# taps that meet input are at most this share of all.
_SAMPLES = 64
_SHARE = 1 / 1.08


def trims_classes(geometry: Geometry) -> bool:
    """Return whether a transposed convolution is made position by position, each by the taps that meet input there."""
    return _pays(geometry, geometry.class_taps)


def trims_windows(geometry: Geometry) -> bool:
    """Return the same for a convolution."""
    return _pays(geometry, geometry.window_taps)


def _pays(geometry: Geometry, taps: int) -> bool:
    return geometry.samples >= _SAMPLES and geometry.met_taps <= _SHARE * taps
