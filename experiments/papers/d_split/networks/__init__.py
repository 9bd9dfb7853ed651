"""Six networks by split deconvolution: work and time."""
