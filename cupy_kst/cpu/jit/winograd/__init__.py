"""Winograd's minimal filtering: fewer products than taps."""
