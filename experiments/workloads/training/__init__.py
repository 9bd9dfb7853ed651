"""Small networks that train with the library's convolutions and gradients, on NumPy or CuPy arrays."""
