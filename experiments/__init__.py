"""The papers' experiments and the benchmarks of cupy_kst, run as ``python -m experiments NAME``."""
