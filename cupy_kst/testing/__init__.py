"""Verify a convolution of your own: Hypothesis strategies, and `check`, which reports the smallest failure."""

try:
    from .arrays import Arrays, arguments, examples, integer_arrays, real_arrays
    from .cases import Case, cases
    from .checking import check
except ModuleNotFoundError as error:
    if error.name != "hypothesis":
        raise
    raise ImportError("cupy_kst.testing needs Hypothesis: pip install 'cupy_kst[testing]'") from error

__all__ = ["Arrays", "Case", "arguments", "cases", "check", "examples", "integer_arrays", "real_arrays"]
