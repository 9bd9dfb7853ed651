"""Photographs by zero insertion and by the segregated kernels."""
