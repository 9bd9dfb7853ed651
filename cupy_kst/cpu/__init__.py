"""The CPU engine: methods by NumPy, or by code that Numba compiles. `reference` is the definition."""

from __future__ import annotations

from .engine import FORMS, Memory, check_form, form_names, is_compiled, memory, run

__all__ = ["FORMS", "Memory", "check_form", "form_names", "is_compiled", "memory", "run"]
