"""Paper C, arXiv 2306.15951: the three operators of C-K-S."""
