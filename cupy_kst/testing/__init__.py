"""Verify a convolution of your own: Hypothesis strategies, and `check`, which reports the smallest failure."""

try:
    from .arrays import Arrays, arguments, examples, integer_arrays, real_arrays
    from .cases import Case, cases
    from .checking import check
except ModuleNotFoundError as error:
    if error.name != "hypothesis":
        raise
    from ..install import from_extra

    raise ImportError(f"cupy_kst.testing needs Hypothesis: {from_extra('testing', 'hypothesis')}") from error

__all__ = ["Arrays", "Case", "arguments", "cases", "check", "examples", "integer_arrays", "real_arrays"]
