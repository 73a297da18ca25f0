"""ONNX's operators as Caffe's layers: a function for each kind, which `operator` (netdef.onnx.builder) registers."""

from demitasse.netdef.onnx.operators import (  # noqa: F401
    convolutions,
    elementwise,
    gelu,
    images,
    normalisation,
    pooling,
    shapes,
)
