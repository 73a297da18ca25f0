"""A net as an ONNX graph: each layer says its own part (`Layer.to_onnx`), values join them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from demitasse.layers.layer import Layer, Param
from demitasse.layers.onnx.graph import FLOAT, Graph, Tensor
from demitasse.netdef.graph import Step, Value
from demitasse.netdef.onnx.origin import remember
from demitasse.netdef.onnx.part import Part
from demitasse.netdef.onnx.passes import fold, halve, prune
from demitasse.netdef.onnx.preprocess import Preprocessing
from demitasse.netdef.onnx.sizes import fixed_sizes, free_sizes
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import SchemaFault
from demitasse.proto.onnx_file import Model, write

if TYPE_CHECKING:
    from demitasse.netdef.net_files import NetFiles


class Way(NamedTuple):
    """How a graph is written.

    fixed: sizes are constants, as the plan has them; else batch, height and width are free where the net allows.
    fold: without copies, and with the scales and shifts behind convolutions in their weights.
    fp16: in half precision, but for inputs and outputs.
    image: how an image becomes the net's input, said in the metadata; with `preprocess` the graph does it.
    outputs: the blobs that the file gives, and no layers but those that they need; none: those that no layer reads.
    """

    fixed: bool = False
    fold: bool = False
    fp16: bool = False
    image: Preprocessing | None = None
    preprocess: bool = False
    outputs: Sequence[str] = ()


def model_of(plan: Plan, arrays: Mapping[Param, np.ndarray], way: Way) -> Model:
    """The graph of a plan with these learned arrays.  SchemaFault, naming the layer, for what ONNX cannot say."""
    part = Part(plan, way.outputs)
    _require_translations(part)
    shapes, inputs = (fixed_sizes if way.fixed else free_sizes)(part)
    names = _names(part)
    graph = Graph(reserved=names.values())
    tensors: dict[Value, Tensor] = {}
    for step in part.steps:
        with step.located:
            for value, top in zip(step.tops, _translated(graph, step, tensors, shapes, arrays), strict=True):
                tensors[value] = top if step.is_input else graph.name(top, names[value], shapes[value])
    outputs = {
        names[value]: (FLOAT, [f"{name}_{axis}" if size is None else size for axis, size in enumerate(shapes[value])])
        for name, value in part.newest.items()
        if name in part.outputs and not value.producer.is_input
    }
    if not outputs:
        raise SchemaFault("the net has no output: every blob is read by another layer, or is an input", plan.wheres[0])
    about = {name: (FLOAT, sizes) for name, sizes in inputs.items()}
    model = Model(graph.finished_nodes(), graph.arrays, about, outputs, {}, plan.message.name)
    prune(model)
    if way.fold:
        fold(model)
    if way.fp16:
        halve(model)
    if way.image:
        way.image.describe(model)
    if way.image and way.preprocess:
        way.image.take_in(model, next(iter(part.inputs.values())).shape[2:])
    if not (way.fold or way.preprocess):
        remember(model, part, graph)
    return model


def _require_translations(part: Part) -> None:
    """SchemaFault that names all layers whose type has no translation."""
    lacking = [step for step in part.steps if not step.is_input and type(step.layer).to_onnx is Layer.to_onnx]
    data = [step.tops[0].name for step in lacking if not step.bottoms and step.tops]
    if lacking:
        others = f"; nor has {', '.join(step.label for step in lacking[1:])}" if lacking[1:] else ""
        remedy = f"take it out, or let the file end before it, as --outputs {','.join(lacking[0].spec.bottom)}"
        if data:
            remedy = f"give the size of what takes its place, as --input {data[0]}=1x3x500x500"
        with lacking[0].located:
            raise SchemaFault(f"{lacking[0].cls.type} has no translation to ONNX{others}: {remedy}")


def _translated(graph: Graph, step: Step, tensors, shapes, arrays) -> list[Tensor]:
    if step.is_input:
        return [graph.input(value.name, shapes[value]) for value in step.tops]
    graph.begin_layer(step.name, [arrays[param] for param in step.layer.params])
    return step.layer.to_onnx(graph, [tensors[value] for value in step.bottoms])


def _names(part: Part) -> dict[Value, str]:
    """What values are called: inputs and the newest of a blob as it, others (in place) after their layer too."""
    newest = {part.inputs.get(name, value) for name, value in part.newest.items()}
    taken = set(part.newest)
    names = {}
    for value in part.values:
        name = value.name
        if value not in newest:
            name = f"{value.name}/{value.producer.name}"
            while name in taken:
                name += "'"
            taken.add(name)
        names[value] = name
    return names


def arrays_of(net: NetFiles) -> dict[Param, np.ndarray]:
    """The learned arrays of a Net on the host, each of its param's shape."""
    return {
        param: net.backend.to_host(net.plan.shared.get(param, param).data)
        for step in net.plan.steps
        for param in step.layer.params
    }


def export(net: NetFiles, path: str | os.PathLike, way: Way) -> Model:
    """Write a net (netdef.net.Net) as an ONNX file; returns what was written."""
    model = model_of(net.plan, arrays_of(net), way)
    write(path, model)
    return model
