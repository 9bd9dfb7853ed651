"""What a GPU could do at best on every layer, and what the choice of forms reckons with: arithmetic, no measurement.

The floor of a layer is the larger of its operations over the device's rate and of its bytes over the device's
bandwidth, both as its data sheet gives them. The estimate is that by which forms are chosen
(`estimated_cycles` in cupy_kst/gpu/select/cost_model.py), for a prepared weight, or what the bytes take if that is
more. `gpu_bench` measures both on a device.
"""

from __future__ import annotations

from pathlib import Path

import click

from cupy_kst import Geometry
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.methods import ks_deconv
from cupy_kst.gpu.select import cost_model
from cupy_kst.gpu.select.context import PlanContext
from cupy_kst.gpu.select.cost_model import needs_wide
from cupy_kst.gpu.select.device import REFERENCE
from cupy_kst.methods import auto
from experiments.bench.gpu.ceilings import Ceilings
from experiments.bench.gpu.count import array_bytes, useful_flops
from experiments.bench.gpu.parts import PARTS, RowSpec
from experiments.errors import EXIT_CHECK, ExperimentError, reason
from experiments.harness.files import write
from experiments.harness.places import ROOT
from experiments.render.console import output
from experiments.render.sheets import Sheet, markdown

# NVIDIA's data sheet of the H200 SXM, without sparsity; tf32x3 makes three products of one.
H200 = Ceilings(
    4.8e12, {"ieee": 67e12, "tf32": 494.7e12, "tf32x3": 164.9e12, "float16": 989.4e12, "bfloat16": 989.4e12}
)
CLOCKS_PER_S = 1.98e9
_TITLE = "# Floors of the layers on a GPU"
_ORIGIN = "Nothing on this page is measured. It is written by `python -m experiments gpu_floors`."


def reckoned(spec: RowSpec) -> tuple[str, float | None]:
    """Return the method and form that are taken, and about how many seconds they take, if they are of tiles."""
    layer = spec.layer
    geometry = Geometry.conv_transpose(layer.input_shape(spec.batch), layer.weight_shape, **layer.options)
    method = auto("conv_transpose", geometry, "cupy").name
    if method != "ks_deconv":
        return method, None
    last = spec.kind.natural == "channels_last"
    context = PlanContext(DTYPES[spec.kind.dtype], REFERENCE, needs_wide(geometry), last, precision=spec.kind.precision)
    form = ks_deconv.plan(geometry, context).form
    assert form is not None
    cycles = cost_model.estimated_cycles(context, ks_deconv.product(geometry, form.trimmed, last), form)
    return str(form), max(cycles / CLOCKS_PER_S, array_bytes(spec) / H200.bytes_per_s)


def sheet(batch: int) -> Sheet:
    """Return the table of all layers at a batch."""
    part = PARTS["core"]
    rows: dict[str, list[str]] = {}
    for spec in part.specs():
        if spec.batch == batch:
            form, seconds = reckoned(spec)
            floor = H200.floor(spec.kind.name, useful_flops(spec), array_bytes(spec))
            cells = rows.setdefault(spec.layer.label, [spec.layer.label])
            cells += [_microseconds(floor), "-" if seconds is None else _microseconds(seconds), form]
    headings = [f"{kind}: {what}" for kind in part.kinds for what in ("floor", "reckoned", "form")]
    notes = [f"Microseconds on an {REFERENCE.name}."]
    return Sheet(f"Batch {batch}", ["layer", *headings], list(rows.values()), notes)


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.3g}"


@click.command("gpu_floors")
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    default=ROOT / "docs" / "gpu_floors.md",
    help="File to write; by default docs/gpu_floors.md of this checkout.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the file differs from what would be written.")
def command(page: Path, check: bool) -> None:
    """Write the least time that a GPU's data sheet leaves every layer, and what the choice of forms reckons with.

    It needs no GPU: nothing is measured.
    """
    about = (__doc__ or "").partition("\n\n")[2].strip()
    sheets = (markdown(sheet(batch)) for batch in sorted(PARTS["core"].batches))
    text = "\n\n".join([_TITLE, about, _ORIGIN, *sheets]) + "\n"
    try:
        stale = not page.is_file() or page.read_text(encoding="utf-8") != text
    except OSError as error:
        raise ExperimentError(f"{page}: {reason(error)}") from None
    if check and stale:
        raise ExperimentError(f"{page} is not what would be written: python -m experiments gpu_floors", EXIT_CHECK)
    if stale:
        write(page, text)
    output().print(f"{page}: {'written' if stale else 'up to date'}", soft_wrap=True)
