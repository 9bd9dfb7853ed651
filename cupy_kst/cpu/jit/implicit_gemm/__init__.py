"""Convolutions that gather their inputs box by box while they multiply."""
