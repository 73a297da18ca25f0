"""Nets as ONNX graphs, and back."""
