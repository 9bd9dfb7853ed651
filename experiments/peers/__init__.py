"""The backends of a comparison: this library's own, PyTorch and ONNX Runtime, each where it is installed."""
