"""ONNX's operators as Caffe's layers: a function for each kind, which `operator` (netdef.onnx.builder) registers."""

from demitasse.netdef.onnx.operators import convolutions, elementwise, images, shapes  # noqa: F401
