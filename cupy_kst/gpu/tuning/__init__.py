"""Forms that were timed on a device: the search, the file that keeps its findings, and the timer."""
