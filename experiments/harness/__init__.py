"""What runs, times and stores: devices, clocks, turns, rows, result files, and the frame of the papers' experiments."""
