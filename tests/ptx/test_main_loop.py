"""What the loop over the stages of Sk-dilated's products holds beside these."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import pytest

from tests.support import nvrtc
from tests.support.roster import BUILDS, ESSENTIAL, Build

_LABEL = re.compile(r"^(?P<label>\.L_x_\d+):")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?(?P<name>[A-Z][\w.]*)(?P<operands>[^;]*);")
_PRODUCT = re.compile("HMMA|FFMA|DFMA")
_LOAD = re.compile("LDG|LD[.]|LDGSTS")
_INTEGER = re.compile("U?(IMAD|IADD|LEA|ISETP|SEL|LOP|PLOP|SHF|PRMT|IMNMX|R2P|MOV)|VIADD|VIMNMX|IABS|CS2R|S2U?R|R2UR")
# What 32-bit divisions begin with; those of 64 bits are calls.
_DIVISION = re.compile("MUFU|I2F|F2I|CALL.*__cuda")
# tf32 is rounded by an addition of integers, where this finds that the float is finite.
_ROUNDING = re.compile("FSETP")
# Once a run, tiles on CUDA cores add its sums to those in local memory, and begin anew.
_KEPT = re.compile("LDL|STL")
# A stage has at most 68 instructions beside the loads, and 4 for each of them, with NVRTC 13; over 150 and the same
# for the loads where positions are divided for. Products of a stage are 8 to 32 for a warp on tensor cores.
MOST, MOST_OF_LOAD = 100, 4
# Between the first and the last access to local memory, for each of these.
MOST_OF_KEPT = 4

LOOPS = [build for build in BUILDS if build.stem == "sk_dilated" and build.architecture == "sm_90"]


class Instruction(NamedTuple):
    """One line of machine code, without its predicate."""

    name: str
    operands: str


def main_loop(code: str) -> list[Instruction]:
    """Return the longest of the loops of `multiply_taps` that multiply."""
    _, _, code = code.partition(".text.multiply_taps:")
    code, _, _ = code.partition("\n.text.")
    found: list[Instruction] = []
    labels: dict[str, int] = {}
    loops: list[list[Instruction]] = []
    for line in code.splitlines():
        if label := _LABEL.match(line):
            labels[label["label"]] = len(found)
        elif instruction := _INSTRUCTION.match(line):
            found.append(Instruction(instruction["name"], instruction["operands"]))
            target = re.search(r"\.L_x_\d+", instruction["operands"])
            if instruction["name"].startswith("BRA") and target and target[0] in labels:
                loops.append(found[labels[target[0]] :])
    return max((loop for loop in loops if _count(loop, _PRODUCT)), key=len)


def without_flush(loop: list[Instruction]) -> tuple[list[Instruction], list[Instruction]]:
    """Return the instructions of a stage, and those from the first access to local memory to the last."""
    kept = [number for number, each in enumerate(loop) if _KEPT.match(each.name)]
    first, end = (kept[0], kept[-1] + 1) if kept else (len(loop), len(loop))
    return loop[:first] + loop[end:], loop[first:end]


def _count(loop: list[Instruction], pattern: re.Pattern[str]) -> int:
    return sum(pattern.match(f"{each.name} {each.operands}") is not None for each in loop)


@pytest.mark.long(but=lambda build: build in ESSENTIAL and build.dtype == "float16")
@pytest.mark.parametrize("build", LOOPS, ids=str)
def test_positions_take_few_instructions(build: Build) -> None:
    nvrtc.require()
    loop = main_loop(nvrtc.machine_code(nvrtc.compile_text(build.text, build.architecture).cubin))
    assert not _count(loop, _DIVISION)
    loop, flush = without_flush(loop)
    assert _count(loop, _PRODUCT) >= 8
    # Sums are added by a multiplication by one, if at all.
    assert _count(flush, _PRODUCT) <= _count(flush, _KEPT)
    assert len(flush) <= MOST_OF_KEPT * _count(flush, _KEPT), Counter(each.name for each in flush)
    # 64 bits take twice as many, and so does the rounding of a float to two parts.
    if not build.wide and ("TENSOR", "3") not in build.defines:
        integers = _count(loop, _INTEGER) - _count(loop, _ROUNDING)
        assert integers <= MOST + MOST_OF_LOAD * _count(loop, _LOAD), Counter(each.name for each in loop)
