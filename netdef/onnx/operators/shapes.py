"""What rearranges numbers, as layers."""

from __future__ import annotations

import math

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, expanded, held, operator, reshaped, tiled
from demitasse.netdef.onnx.operators.constants import axes_of
from demitasse.netdef.onnx.operators.convolutions import padded
from demitasse.netdef.onnx.operators.lines import along, bordered

AXIS_ALONE = 13  # the opset from which on Softmax runs along one axis


@operator("Identity", "Dropout")
def _same(builder: Builder, node: Node, inputs: list) -> None:
    builder.values[node.outputs[0]] = inputs[0]


@operator("Cast", "CastLike")
def _cast(builder: Builder, node: Node, inputs: list) -> None:
    if node.op == "CastLike" or not str(node.attrs["to"]).startswith("float"):
        raise Unsupported("numbers of another kind than floats")
    builder.values[node.outputs[0]] = inputs[0]


@operator("Expand")
def _expand(builder: Builder, node: Node, inputs: list) -> None:
    x, sizes = inputs
    if isinstance(sizes, Blob):
        raise Unsupported("sizes that are computed of values")
    shape = np.broadcast_shapes(x.shape, tuple(int(size) for size in sizes))
    builder.values[node.outputs[0]] = expanded(builder, x, node.outputs[0], shape)


@operator("Tile")
def _tile(builder: Builder, node: Node, inputs: list) -> None:
    x, times = inputs
    if isinstance(times, Blob):
        raise Unsupported("times that are computed of values")
    for axis, count in enumerate(int(count) for count in times):
        x = x if count == 1 else tiled(builder, x, f"{node.outputs[0]}/{axis}", axis, count)
    builder.values[node.outputs[0]] = x


@operator("ArgMax")
def _arg_max(builder: Builder, node: Node, inputs: list) -> None:
    (x,), out, attrs = inputs, node.outputs[0], node.attrs
    axis = attrs.get("axis", 0) % len(x.shape)
    if attrs.get("select_last_index", 0):
        raise Unsupported("the last of equal entries")

    def fill(spec):
        spec.argmax_param.axis = axis

    top = builder.layer("ArgMax", [x], f"{out}/place", fill=fill)
    keep = [1] * int(bool(attrs.get("keepdims", 1)))
    reshaped(builder, top, out, (*x.shape[:axis], *keep, *x.shape[axis + 1 :]))


@operator("Softmax", "LogSoftmax")
def _softmax(builder: Builder, node: Node, inputs: list) -> None:
    (x,), out, older = inputs, node.outputs[0], builder.opset < AXIS_ALONE
    axis = node.attrs.get("axis", 1 if older else -1)
    shape, over_all = x.shape, older and math.prod(x.shape[axis:]) != x.shape[axis]
    if over_all:  # one softmax over all axes from this one on
        x, axis = reshaped(builder, x, f"{out}/rows", (math.prod(shape[:axis]), math.prod(shape[axis:]))), 1

    def fill(spec):
        spec.softmax_param.axis = axis

    logarithm = node.op == "LogSoftmax"
    top = builder.layer("Softmax", [x], f"{out}/softmax" if logarithm or over_all else out, fill=fill)
    if logarithm:
        top = builder.layer("Log", [top], f"{out}/logarithm" if over_all else out)
    if over_all:
        reshaped(builder, top, out, shape)


@operator("Concat")
def _concat(builder: Builder, node: Node, inputs: list) -> None:
    out = node.outputs[0]
    blobs = [
        value if isinstance(value, Blob) else held(builder, value, f"{out}/constant_{i}")
        for i, value in enumerate(inputs)
    ]

    def fill(spec):
        spec.concat_param.axis = node.attrs["axis"]

    builder.layer("Concat", blobs, out, fill=fill)


@operator("Split")
def _split(builder: Builder, node: Node, inputs: list) -> None:
    x, *sizes = inputs
    if sizes and isinstance(sizes[0], Blob):
        raise Unsupported("sizes that are computed of values")
    length, count = x.shape[node.attrs.get("axis", 0)], len(node.outputs)
    each = -(-length // count)
    sizes = list(sizes[0]) if sizes else node.attrs.get("split", [each] * (count - 1) + [length - each * (count - 1)])

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


@operator("DepthToSpace", "SpaceToDepth")
def _to_space(builder: Builder, node: Node, inputs: list) -> None:
    (x,), b, out = inputs, node.attrs["blocksize"], node.outputs[0]
    n, c, h, w = x.shape
    if node.op == "SpaceToDepth":
        wide, order, shape = (n, c, h // b, b, w // b, b), [0, 3, 5, 1, 2, 4], (n, c * b * b, h // b, w // b)
    else:
        deep, first = c // b**2, node.attrs.get("mode", "DCR") == "DCR"
        wide = (n, b, b, deep, h, w) if first else (n, deep, b, b, h, w)
        order, shape = [0, 3, 4, 1, 5, 2] if first else [0, 1, 4, 2, 5, 3], (n, deep, h * b, w * b)

    def fill(spec):
        spec.permute_param.order.extend(order)

    moved = builder.layer("Permute", [reshaped(builder, x, f"{out}/blocks", wide)], f"{out}/moved", fill=fill)
    reshaped(builder, moved, out, shape)


@operator("Pad")
def _pad(builder: Builder, node: Node, inputs: list) -> None:
    (x, *rest), axes = inputs, len(inputs[0].shape)
    pads = node.attrs.get("pads", rest[0] if rest else [])
    value = rest[1] if len(rest) > 1 and rest[1] is not None else node.attrs.get("value", 0)
    mode, out = node.attrs.get("mode", "constant"), node.outputs[0]
    if len(rest) > 2 and rest[2] is not None:  # the axes that are padded, others are not
        named, whole = [int(axis) for axis in rest[2]], np.zeros((2, axes), int)
        whole[:, named] = np.reshape(pads, (2, -1))
        pads = whole.reshape(-1)
    if isinstance(pads, Blob) or isinstance(value, Blob) or len(pads) != 2 * axes or np.any(value):
        raise Unsupported("a pad that is not of zeros, or is computed of values")
    before, behind = ([int(n) for n in ends] for ends in (pads[:axes], pads[axes:]))
    if not any(before + behind):
        builder.values[out] = x
    elif mode == "constant" and not any(before[:2] + behind[:2]) and min(before + behind) >= 0:
        padded(builder, out, x, before[2:], behind[2:])
    else:
        ends = enumerate(zip(before, behind, strict=True))
        along(builder, x, out, {axis: bordered(x.shape[axis], *pair, mode) for axis, pair in ends if any(pair)})
