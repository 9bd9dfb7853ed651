"""Gradients of weights."""
