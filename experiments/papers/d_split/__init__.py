"""Paper D, arXiv 1907.01773: split deconvolution."""
