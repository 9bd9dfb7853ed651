"""Split deconvolution on arrays of multipliers: cycles and energy."""
