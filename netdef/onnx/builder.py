"""A Caffe net in the making, out of an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from demitasse.layers.layer import Shape, layer_class
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import LayerParameter, NetParameter
from demitasse.proto.onnx_file import Model, Node

USUAL = 224  # pixels, in messages


class Blob(NamedTuple):
    """A value of the net that is built, as opposed to a constant array."""

    name: str
    shape: Shape


class Unsupported(Exception):
    """Why an operator has no layer."""


class Builder:
    """The net in the making: layers, their learned arrays, and what each name of the graph stands for."""

    def __init__(self, model: Model, sizes: Mapping[str, Shape]):
        self.net = NetParameter(name=model.name)
        self.weights: dict[str, list[np.ndarray]] = {}
        self.opset, self.producer = model.opset, model.producer
        self.values: dict[str, Blob | np.ndarray] = dict(model.arrays)
        for name, (_, shape) in model.inputs.items():
            shape = sizes.get(name, shape)
            free = [str(size) for size in shape if not isinstance(size, int)]
            if free:
                example = [size if isinstance(size, int) else USUAL if axis else 1 for axis, size in enumerate(shape)]
                raise SchemaFault(
                    f"the input '{name}' has sizes that a run brings ({', '.join(free)}), and a prototxt names all: "
                    f"give them, as --input {name}={'x'.join(map(str, example))}"
                )
            layer = self.net.layer.add(name=name, type="Input", top=[name])
            layer.input_param.shape.add(dim=shape)
            self.values[name] = Blob(name, tuple(shape))

    def value(self, name: str) -> Blob | np.ndarray | None:
        """What a node reads: a blob, or an array of the graph's shape; None where it leaves an input out."""
        return self.values[name] if name else None

    def blob(self, name: str) -> Blob:
        """A layer's top."""
        value = self.values[name]
        assert isinstance(value, Blob)
        return value

    def layer(
        self,
        kind: str,
        bottoms: Sequence[Blob],
        tops: str | Sequence[str],
        arrays: Sequence[np.ndarray] = (),
        fill: Callable[[LayerParameter], None] = lambda spec: None,
    ) -> Blob:
        """Add a layer, whose first top is given back; `fill` sets its fields.  A top's name is that of the graph."""
        tops = [tops] if isinstance(tops, str) else list(tops)
        spec = LayerParameter(name=tops[0], type=kind, bottom=[blob.name for blob in bottoms], top=tops)
        fill(spec)
        layer = layer_class(kind)(spec)
        shapes = [blob.shape for blob in bottoms]
        params = layer.params = layer.setup(shapes)
        if len(params) != len(arrays) or any(p.count != a.size for p, a in zip(params, arrays, strict=True)):
            raise Unsupported(f"its weights do not fit a {kind}")
        made = [Blob(top, tuple(shape)) for top, shape in zip(tops, layer.infer(shapes), strict=True)]
        self.values.update(zip(tops, made, strict=True))
        self.net.layer.append(spec)
        if arrays:
            pairs = zip(params, arrays, strict=True)
            self.weights[spec.name] = [np.asarray(array, np.float32).reshape(param.shape) for param, array in pairs]
        return made[0]


OPERATORS: dict[str, Callable[[Builder, Node, list], None]] = {}


def operator(*names: str) -> Callable:
    """Register a function for operators of these names: function(builder, node, inputs)."""

    def register(function):
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def layer_of(builder: Builder, node: Node) -> None:
    """Add the layers that a node becomes.  Unsupported where there are none."""
    if node.op not in OPERATORS:
        raise Unsupported("no layer computes it")
    OPERATORS[node.op](builder, node, [builder.value(name) for name in node.inputs])


def reshaped(builder: Builder, x: Blob, out: str, sizes: Sequence[int]) -> Blob:
    """x in other sizes."""

    def fill(spec):
        spec.reshape_param.shape.dim.extend(int(size) for size in sizes)

    return builder.layer("Reshape", [x], out, fill=fill)


def held(builder: Builder, array: np.ndarray, out: str) -> Blob:
    """A constant as a value: a layer's learned array."""

    def fill(spec):
        spec.parameter_param.shape.dim.extend(array.shape)

    return builder.layer("Parameter", [], out, [array], fill)


def expanded(builder: Builder, x: Blob, out: str, shape: Sequence[int]) -> Blob:
    """x repeated along its axes of one entry, to a shape that it can be broadcast to."""
    if len(x.shape) < len(shape):
        x = reshaped(builder, x, f"{out}/axes", (1,) * (len(shape) - len(x.shape)) + x.shape)
    for axis, (size, wanted) in enumerate(zip(x.shape, shape, strict=True)):
        if size == wanted:
            continue
        if size != 1:
            raise Unsupported(f"values of shapes {x.shape} and {tuple(shape)}")
        x = tiled(builder, x, f"{out}/{axis}", axis, wanted)
    return x


def tiled(builder: Builder, x: Blob, out: str, axis: int, times: int) -> Blob:
    """x so many times along an axis."""

    def fill(spec):
        spec.tile_param.axis, spec.tile_param.tiles = axis, times

    return builder.layer("Tile", [x], out, fill=fill)
