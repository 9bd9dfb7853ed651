"""From a plan to a kernel that runs: the CUDA text, the parameters, and the runtime that compiles and launches."""
