"""What a graph computes of constants and shapes, computed once and for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node

_ARRAYS: dict[str, Callable] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Neg": np.negative,
    "Pow": np.power,
    "Max": np.maximum,
    "Min": np.minimum,
    "Equal": np.equal,
    "Where": np.where,
    "Sqrt": np.sqrt,
    "Identity": np.asarray,
}


def constant_of(builder: Builder, node: Node) -> bool:
    """Compute what a node makes of constants and shapes; whether it does."""
    inputs = [builder.value(name) for name in node.inputs]
    if node.op == "Shape" and isinstance(inputs[0], Blob):
        result = np.array(inputs[0].shape, np.int64)
    elif node.op == "Constant":
        result = next(np.asarray(value) for value in node.attrs.values())
    elif any(isinstance(value, Blob) for value in inputs):
        return False
    elif node.op in _ARRAYS:
        result = _ARRAYS[node.op](*inputs)
    elif node.op in _SHAPES:
        result = _SHAPES[node.op](node, *inputs)
    else:
        return False
    builder.values[node.outputs[0]] = np.asarray(result)
    return True


def _sliced(node, x, *words):
    window = [slice(None)] * x.ndim
    starts, ends, axes, steps = bounds_of(node, words)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        window[axis] = slice(int(start), int(end), int(step))
    return x[tuple(window)]


_SHAPES: dict[str, Callable] = {
    "Gather": lambda node, x, index: np.take(x, index, axis=node.attrs.get("axis", 0)),
    "Concat": lambda node, *xs: np.concatenate(xs, axis=node.attrs["axis"]),
    "Cast": lambda node, x: x.astype(node.attrs["to"]),
    "Unsqueeze": lambda node, x, *axes: np.expand_dims(x, tuple(axes_of(node, axes))),
    "Squeeze": lambda node, x, *axes: np.squeeze(x, tuple(axes_of(node, axes)) or None),
    "Slice": _sliced,
    "ConstantOfShape": lambda node, shape: np.full([int(n) for n in shape], node.attrs.get("value", np.zeros(1, "f4"))),
    "Range": lambda node, start, end, step: np.arange(start, end, step),
    "Expand": lambda node, x, shape: x * np.ones([int(n) for n in shape], x.dtype),
    "Div": lambda node, a, b: a // b if np.issubdtype(a.dtype, np.integer) else a / b,
    "Transpose": lambda node, x: np.transpose(x, node.attrs.get("perm")),
    "Reshape": lambda node, x, shape: x.reshape([int(size) for size in shape]),
}


def bounds_of(node: Node, words: Sequence) -> tuple:
    """(starts, ends, axes, steps) of a Slice: attributes once and inputs since opset 10."""
    starts, ends, *rest = words or (node.attrs["starts"], node.attrs["ends"], node.attrs.get("axes"))
    axes, steps = (*rest, None, None)[:2]
    axes = range(len(starts)) if axes is None else axes
    return starts, ends, axes, [1] * len(starts) if steps is None else steps


def axes_of(node: Node, inputs: Sequence) -> list[int]:
    """The axes of an operator, an attribute once and an input since opset 13."""
    given = inputs[0] if inputs and inputs[0] is not None else node.attrs.get("axes", [])
    return [int(axis) for axis in given]
