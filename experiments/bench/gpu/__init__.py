"""On a GPU, against PyTorch's cuDNN."""
