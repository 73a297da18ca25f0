"""What a graph computes of constants and shapes, computed once and for all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Unsupported
from demitasse.proto.onnx_file import Model, Node, evaluate

LARGEST = 2**27  # numbers that a constant may have which a graph computes
MAKERS = {"ConstantOfShape", "Expand", "Range", "Tile"}  # whose results may be larger than all that a file holds


def constant_of(builder: Builder, node: Node) -> bool:
    """Compute what a node makes of constants and shapes; whether it does.  Unsupported where that is too large."""
    inputs = [builder.value(name) for name in node.inputs]
    if node.op == "Shape" and isinstance(inputs[0], Blob):
        ends = slice(node.attrs.get("start", 0), node.attrs.get("end"))
        builder.values[node.outputs[0]] = np.array(inputs[0].shape[ends], np.int64)
        return True
    if node.op == "Constant":
        builder.values[node.outputs[0]] = next(np.asarray(value) for value in node.attrs.values())
        return True
    arrays = [value for value in inputs if not isinstance(value, Blob)]
    if len(arrays) < len(inputs) or any(isinstance(value, Model) for value in node.attrs.values()):
        return False
    if node.op in MAKERS and _size(node, arrays) > LARGEST:
        raise Unsupported(f"a constant of more than {LARGEST:,} numbers")
    made = evaluate(node, arrays, builder.opset)
    builder.values.update((name, np.asarray(array)) for name, array in zip(node.outputs, made, strict=False) if name)
    return True


def _size(node: Node, inputs: Sequence) -> float:
    """How many numbers such an operator makes."""
    if node.op == "Range":
        start, end, step = (float(np.ravel(value)[0]) for value in inputs)
        return (end - start) / step
    times = [int(size) for size in inputs[-1]]
    return math.prod(times) * (1 if node.op == "ConstantOfShape" else inputs[0].size)


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
