"""A small classifier that trains with the operators."""
