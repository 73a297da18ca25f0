"""What rearranges numbers, as layers."""

from __future__ import annotations

import math

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, operator, reshaped
from demitasse.netdef.onnx.operators.constants import axes_of


@operator("Identity", "Dropout")
def _same(builder: Builder, node: Node, inputs: list) -> None:
    builder.values[node.outputs[0]] = inputs[0]


@operator("Softmax")
def _softmax(builder: Builder, node: Node, inputs: list) -> None:
    def fill(spec):
        spec.softmax_param.axis = node.attrs.get("axis", -1)

    builder.layer("Softmax", inputs, node.outputs[0], fill=fill)


@operator("Concat")
def _concat(builder: Builder, node: Node, inputs: list) -> None:
    if not all(isinstance(value, Blob) for value in inputs):
        raise Unsupported("a constant beside values")

    def fill(spec):
        spec.concat_param.axis = node.attrs["axis"]

    builder.layer("Concat", inputs, node.outputs[0], fill=fill)


@operator("Split")
def _split(builder: Builder, node: Node, inputs: list) -> None:
    x, *sizes = inputs
    sizes = list(sizes[0]) if sizes else node.attrs.get("split", [])

    def fill(spec):
        spec.slice_param.axis = node.attrs.get("axis", 0)
        spec.slice_param.slice_point.extend(int(end) for end in np.cumsum(sizes)[:-1])

    builder.layer("Slice", [x], node.outputs, fill=fill)


@operator("Transpose")
def _transpose(builder: Builder, node: Node, inputs: list) -> None:
    def fill(spec):
        spec.permute_param.order.extend(node.attrs.get("perm", range(len(inputs[0].shape))[::-1]))

    builder.layer("Permute", inputs, node.outputs[0], fill=fill)


@operator("Flatten")
def _flatten(builder: Builder, node: Node, inputs: list) -> None:
    axis = node.attrs.get("axis", 1)
    shape = inputs[0].shape
    reshaped(builder, inputs[0], node.outputs[0], (math.prod(shape[:axis]), math.prod(shape[axis:])))


@operator("Reshape")
def _reshape(builder: Builder, node: Node, inputs: list) -> None:
    x, sizes = inputs
    if not isinstance(sizes, np.ndarray):
        raise Unsupported("sizes that are computed of values")
    wanted = [x.shape[i] if size == 0 else int(size) for i, size in enumerate(sizes)]
    reshaped(builder, x, node.outputs[0], wanted)


@operator("Squeeze", "Unsqueeze")
def _squeeze(builder: Builder, node: Node, inputs: list) -> None:
    x, *axes = inputs
    empty = np.lib.stride_tricks.as_strided(np.zeros(1), x.shape, [0] * len(x.shape))
    change = np.squeeze if node.op == "Squeeze" else np.expand_dims
    reshaped(builder, x, node.outputs[0], change(empty, tuple(axes_of(node, axes))).shape)


@operator("Pad")
def _pad(builder: Builder, node: Node, inputs: list) -> None:
    pads = node.attrs.get("pads", inputs[1] if len(inputs) > 1 else [])
    if np.any(pads):
        raise Unsupported("a pad of its own: let the convolution or pooling behind it have pads")
    builder.values[node.outputs[0]] = inputs[0]
