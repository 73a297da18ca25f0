"""Changes to a finished graph that leave its numbers as they are: what `--fold` and `--fp16` do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from demitasse.proto.errors import SchemaFault
from demitasse.proto.onnx_file import Model, Node

LARGEST_HALF = float(np.finfo(np.float16).max)
LINEAR = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0}  # the axis of the weights along which the outputs lie
FLOATS_ONLY = {"Resize": (2,), "NonMaxSuppression": (0, 1, 3, 4)}  # inputs that ONNX wants as float32


def fold(model: Model) -> None:
    """Leave out copies (Identity), and take what scales and shifts the outputs of a convolution into its weights."""
    _drop_copies(model)
    changed = True
    while changed:
        uses = Counter(name for node in model.nodes for name in node.inputs)
        uses.update([*model.outputs, *_of_bodies(model)])
        makers = {node.outputs[0]: node for node in model.nodes}
        changed = any(_absorbed(model, node, makers, uses) for node in list(model.nodes))
    prune(model)


def prune(model: Model) -> None:
    """Leave out operators of whose results none is read, and arrays that no operator reads."""
    used, kept = set(model.outputs), []
    for node in reversed(model.nodes):
        if not used.isdisjoint(node.outputs):
            kept.append(node)
            used |= {*node.inputs, *_of_bodies(Model([node]))}
    model.nodes = kept[::-1]
    model.arrays = {name: array for name, array in model.arrays.items() if name in used}


def _of_bodies(model: Model) -> set[str]:
    """What the graphs that nodes hold read."""
    return {name for body in model.bodies for node in body.nodes for name in node.inputs}


def _drop_copies(model: Model) -> None:
    inner = _of_bodies(model)
    for node in [node for node in model.nodes if node.op == "Identity"]:
        (source,), (copy,) = node.inputs, node.outputs
        if copy not in model.outputs and copy not in inner:
            model.nodes.remove(node)
            for reader in model.nodes:
                reader.inputs = [source if name == copy else name for name in reader.inputs]


def _absorbed(model: Model, node: Node, makers: Mapping[str, Node], uses: Counter) -> bool:
    """Whether the node was taken into the linear operator before it, whose output nobody else reads."""
    before = makers.get(node.inputs[0]) if node.inputs else None
    if before is None or before.op not in LINEAR or uses[node.inputs[0]] != 1 or node.inputs[0] in model.outputs:
        return False
    weight = model.arrays.get(before.inputs[1])
    grouped = before.op == "ConvTranspose" and before.attrs.get("group", 1) > 1
    if weight is None or grouped or before.op == "Gemm" and not before.attrs.get("transB", 0):
        return False
    axis = LINEAR[before.op]
    change = _affine(model, node, weight.shape[axis], weight.ndim)
    if change is None:
        return False
    scale, shift = change
    bias = model.arrays[before.inputs[2]] if len(before.inputs) > 2 else np.zeros(weight.shape[axis], np.float32)
    column = scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    names = [f"{before.inputs[1]}.folded", f"{before.inputs[1]}.shift"]
    while names[0] in model.arrays:
        names = [f"{name}'" for name in names]
    folded = weight * column, bias * scale + shift
    model.arrays |= {name: array.astype(np.float32) for name, array in zip(names, folded, strict=True)}
    before.inputs, before.outputs = [before.inputs[0], *names], list(node.outputs)
    model.nodes.remove(node)
    return True


def _affine(model: Model, node: Node, channels: int, axes: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(scale, shift) of each channel, in float64, where that is all that the node does."""
    if any(name not in model.arrays for name in node.inputs[1:]):
        return None
    constants = [model.arrays[name] for name in node.inputs[1:]]
    one, nothing = np.ones(channels), np.zeros(channels)
    if node.op == "BatchNormalization":
        gamma, beta, mean, variance = (array.astype(np.float64) for array in constants)
        scale = gamma / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
        return scale, beta - mean * scale
    if node.op not in ("Mul", "Add") or len(constants) != 1:
        return None
    shape = constants[0].shape
    per_channel = len(shape) <= axes and [size for size in shape if size != 1] in ([], [channels])
    place = len(shape) - (axes - 1)  # where the channels lie, counted from the operand's first axis
    if not per_channel or channels > 1 and constants[0].size > 1 and (place < 0 or shape[place] != channels):
        return None
    column = np.broadcast_to(constants[0].reshape(-1), (channels,)).astype(np.float64)
    return (column, nothing) if node.op == "Mul" else (one, column)


def halve(model: Model) -> None:
    """Let the graph compute in fp16; its inputs and outputs stay float32.  SchemaFault for weights beyond fp16."""
    for name, array in model.arrays.items():
        if array.dtype == np.float32:
            most = float(np.abs(array).max(initial=0))
            if most > LARGEST_HALF and most < float(np.finfo(np.float32).max) / 2:
                raise SchemaFault(f"'{name}' holds {most:g}, and fp16 ends at {LARGEST_HALF:g}: leave out --fp16")
            model.arrays[name] = np.clip(array, -LARGEST_HALF, LARGEST_HALF).astype(np.float16)
    _halve_nodes(model)
    inputs = {name: f"{name}/fp16" for name, (dtype, _) in model.inputs.items() if dtype == "float32"}
    outputs = {name: f"{name}/fp16" for name, (dtype, _) in model.outputs.items() if dtype == "float32"}
    for node in model.nodes:
        node.inputs = [inputs.get(name, outputs.get(name, name)) for name in node.inputs]
        node.outputs = [outputs.get(name, name) for name in node.outputs]
    first = [Node("Cast", [name], [half], {"to": "float16"}, half) for name, half in inputs.items()]
    last = [Node("Cast", [half], [name], {"to": "float32"}, name) for name, half in outputs.items()]
    model.nodes = [*first, *model.nodes, *last]


def _halve_nodes(model: Model) -> None:
    nodes = []
    for node in model.nodes:
        for i in FLOATS_ONLY.get(node.op, ()):
            if i < len(node.inputs) and node.inputs[i]:
                name = f"{node.name}/float32_{i}"
                nodes.append(Node("Cast", [node.inputs[i]], [name], {"to": "float32"}, name))
                node.inputs[i] = name
        nodes.append(node)
        for key, value in node.attrs.items():
            if value == "float32" if isinstance(value, str) else False:
                node.attrs[key] = "float16"
            elif isinstance(value, np.ndarray) and value.dtype == np.float32:
                node.attrs[key] = value.astype(np.float16)
    model.nodes = nodes
    for body in model.bodies:
        body.inputs = {name: ("float16", sizes) for name, (_, sizes) in body.inputs.items()}
        body.outputs = {name: ("float16", sizes) for name, (_, sizes) in body.outputs.items()}
        _halve_nodes(body)
