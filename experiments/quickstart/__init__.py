"""The first thing to run: a photograph upsampled by every method."""
