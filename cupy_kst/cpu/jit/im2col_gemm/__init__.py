"""Convolution of small maps by one matrix product of gathered columns."""
