"""On a CPU, against PyTorch and ONNX Runtime."""
