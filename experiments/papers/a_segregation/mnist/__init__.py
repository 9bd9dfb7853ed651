"""Training with one transposed convolution."""
