"""Transposed convolution by one matrix product, whose results are added where they land."""
