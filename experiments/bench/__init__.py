"""The benchmarks: layers of published networks against other libraries."""
