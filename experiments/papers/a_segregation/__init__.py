"""Paper A, arXiv 2209.03704: kernels segregated into sub-kernels."""
