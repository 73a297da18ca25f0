"""What an exported file remembers of the net that it was made of, so that the same net can be written back.

The metadata hold the net's prototxt, which array of the graph is which learned array, and a digest of the graph: where
that no longer fits, somebody has changed the graph, and it is read operator by operator instead (netdef.onnx.back).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from demitasse.layers.layer import Shape
from demitasse.layers.onnx.graph import Graph
from demitasse.netdef.onnx.part import Part
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError
from demitasse.proto.messages import NetParameter
from demitasse.proto.onnx_file import Model
from demitasse.proto.text import format as format_message
from demitasse.proto.text import parse

NET, ARRAYS, GRAPH = "demitasse.net", "demitasse.arrays", "demitasse.graph"


def remember(model: Model, part: Part, graph: Graph) -> None:
    """Write into the model's metadata where it comes from."""
    arrays = {
        step.name: [
            graph.stand_ins.get((step.name, index)) or graph.param_names.get((step.name, index))
            for index in range(len(step.layer.params))
        ]
        for step in part.steps
        if step.layer.params
    }
    model.metadata |= {NET: format_message(_as_written(part)), ARRAYS: json.dumps(arrays), GRAPH: digest(model)}


def _as_written(plan: Part | Plan) -> NetParameter:
    """The net without what building it has put in: each layer's phase, and a state that says no more."""
    net = NetParameter()
    net.CopyFrom(plan.message)
    for layer in net.layer:
        if layer.phase == plan.phase:
            layer.ClearField("phase")
    if not (net.state.level or net.state.stage):
        net.ClearField("state")
    return net


def recalled(model: Model, sizes: Mapping[str, Shape]) -> tuple[NetParameter, dict[str, list[np.ndarray]]] | None:
    """The net that an unchanged graph was made of, with these sizes of its inputs, and {layer: its learned arrays, of
    its params' shapes}; None of any other graph."""
    if model.metadata.get(GRAPH) != digest(model):
        return None
    try:
        net, _ = parse(model.metadata[NET], NetParameter, "")
        named = json.loads(model.metadata[ARRAYS])
        plan = Plan(net, "TEST", inputs=sizes)
        net = _as_written(plan) if sizes else net
        return net, {layer: _arrays(model, plan, layer, entries) for layer, entries in named.items()}
    except (NetError, KeyError, ValueError, TypeError):  # metadata of another make
        return None


def _arrays(model: Model, plan: Plan, layer: str, entries: list) -> list[np.ndarray]:
    arrays = []
    for param, entry in zip(plan.params[layer], entries, strict=True):
        held = (
            model.arrays[entry] if isinstance(entry, str) else entry or [0] * param.count
        )  # of what the graph needs not
        arrays.append(np.asarray(held, np.float32).reshape(param.shape))
    return arrays


def digest(model: Model) -> str:
    """A number for how the graph computes, whatever its learned arrays hold."""
    sizes = {name: [str(array.dtype), *array.shape] for name, array in model.arrays.items()}
    text = json.dumps([_described(model), sizes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _described(model: Model) -> list:
    nodes = [
        [node.op, node.inputs, node.outputs, {k: _plain(v) for k, v in node.attrs.items()}] for node in model.nodes
    ]
    return [nodes, list(model.inputs), list(model.outputs)]


def _plain(value):
    if isinstance(value, Model):
        return _described(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return float(np.float32(value))
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else str(value)
