"""The layers of five GANs."""
