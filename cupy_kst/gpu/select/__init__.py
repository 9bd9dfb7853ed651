"""What a kernel is built for: devices, micro-kernels, tiles and forms, and the estimate that chooses among them."""
