"""The tables of d_quality."""

from __future__ import annotations

from experiments.harness.results import Result
from experiments.harness.rows import Row
from experiments.papers.d_split.quality.numbers import picture_rows
from experiments.render.sheets import Sheet


def sheets(result: Result) -> list[Sheet]:
    """Return the tables: on integers, and on pictures."""
    return [_integer_sheet(result), _picture_sheet(result)]


def _integer_sheet(result: Result) -> Sheet:
    rows = [row for row in result.rows if row["kind"] == "integers"]
    least, most = (rows[0][f"{end}_kernel"] for end in ("least", "most"))
    return Sheet(
        f"Split deconvolution on integers, by {result.device}",
        ("stride", "layers", "outputs", "outputs that differ", "largest error"),
        [
            [
                str(row["stride"]),
                str(row["cases"]),
                f"{row['outputs']:,}",
                str(row["differing"]),
                f"{row['max_abs_error']:g}",
            ]
            for row in rows
        ],
        (
            f"Filters of {least}x{least} to {most}x{most}, without padding and with uneven padding and output padding; "
            "small integers as float32, which holds every sum exactly.",
        ),
    )


def _picture_sheet(result: Result) -> Sheet:
    def cells(row: Row) -> list[str]:
        return [
            row["case"],
            row["method"],
            f"{row['max_abs_error']:.1e}",
            f"{row['mean_abs_error']:.1e}",
            f"{row['ssim']:.10f}",
            f"{row['visible']:,} of {row['values']:,}",
        ]

    return Sheet(
        f"Pictures against the definition in float64, by {result.device}",
        ("case", "method", "largest error", "mean error", "SSIM", "off by half a level"),
        [cells(row) for row in picture_rows(result)],
        (
            "Errors in grey levels of 0 to 255. SSIM: of one window, as in the program of the paper's authors; 1 is "
            "the same picture. Moved: the right picture moved by one pixel, to show what a difference looks like here.",
            "The paper compares with the approximate conversions of Shi et al. and Chang et al.: not built again here, "
            "as the texts that define them were not at hand. Its own table of errors was not at hand either.",
        ),
    )
