"""What proves a machine right: the tests and compute-sanitizer on a GPU."""
