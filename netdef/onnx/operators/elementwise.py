"""Functions of each number, and arithmetic of two values, as layers."""

from __future__ import annotations

import math

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, operator, reshaped
from demitasse.proto.messages import EltwiseParameter

LARGEST = float(np.finfo(np.float32).max)
_NEURONS = {"Relu": "ReLU", "Sigmoid": "Sigmoid", "Tanh": "TanH", "Abs": "AbsVal", "Softplus": "BNLL", "Exp": "Exp"}
_NEURONS |= {"Log": "Log"}


@operator(*_NEURONS)
def _neuron(builder: Builder, node: Node, inputs: list) -> None:
    builder.layer(_NEURONS[node.op], inputs, node.outputs[0])


@operator("LeakyRelu")
def _leaky(builder: Builder, node: Node, inputs: list) -> None:
    def fill(spec):
        spec.relu_param.negative_slope = node.attrs.get("alpha", 0.01)

    builder.layer("ReLU", inputs, node.outputs[0], fill=fill)


@operator("Elu")
def _elu(builder: Builder, node: Node, inputs: list) -> None:
    def fill(spec):
        spec.elu_param.alpha = node.attrs.get("alpha", 1.0)

    builder.layer("ELU", inputs, node.outputs[0], fill=fill)


@operator("PRelu")
def _prelu(builder: Builder, node: Node, inputs: list) -> None:
    x, slope = inputs

    def fill(spec):
        spec.prelu_param.channel_shared = slope.size == 1

    builder.layer("PReLU", [x], node.outputs[0], [slope], fill)


_POWERS = {"Neg": (1.0, -1.0), "Sqrt": (0.5, 1.0), "Reciprocal": (-1.0, 1.0)}


@operator(*_POWERS)
def _fixed_power(builder: Builder, node: Node, inputs: list) -> None:
    power, scale = _POWERS[node.op]
    _power(builder, inputs[0], node.outputs[0], power=power, scale=scale)


@operator("Pow")
def _to_the(builder: Builder, node: Node, inputs: list) -> None:
    x, exponent = inputs
    if isinstance(exponent, Blob) or exponent.size != 1:
        raise Unsupported("an exponent that is not one number")
    _power(builder, x, node.outputs[0], power=float(exponent.reshape(-1)[0]))


def _power(builder: Builder, x: Blob, out: str, **fields: float) -> Blob:
    """(shift + scale * x) ** power."""

    def fill(spec):
        for field, value in fields.items():
            setattr(spec.power_param, field, value)

    return builder.layer("Power", [x], out, fill=fill)


@operator("HardSigmoid", "HardSwish")
def _hard_sigmoid(builder: Builder, node: Node, inputs: list) -> None:
    (x,), out, swish = inputs, node.outputs[0], node.op == "HardSwish"
    slope = 1 / 6 if swish else node.attrs.get("alpha", 0.2)
    line = _power(builder, x, f"{out}/line", scale=slope, shift=node.attrs.get("beta", 0.5))

    def fill(spec):
        spec.clip_param.min, spec.clip_param.max = 0, 1

    gate = builder.layer("Clip", [line], f"{out}/gate" if swish else out, fill=fill)
    if swish:
        _eltwise(builder, [x, gate], out, EltwiseParameter.PROD)


@operator("Max", "Sum")
def _of_many(builder: Builder, node: Node, inputs: list) -> None:
    if not all(isinstance(value, Blob) and value.shape == inputs[0].shape for value in inputs):
        raise Unsupported("constants, or values of different shapes")
    operation = EltwiseParameter.MAX if node.op == "Max" else EltwiseParameter.SUM
    _eltwise(builder, inputs, node.outputs[0], operation)


def _eltwise(builder: Builder, values: list, out: str, operation, coeff=()) -> None:
    def fill(spec):
        spec.eltwise_param.operation = operation
        spec.eltwise_param.coeff.extend(coeff)

    if len(values) == 1:
        builder.values[out] = values[0]
    else:
        builder.layer("Eltwise", values, out, fill=fill)


@operator("Clip")
def _clip(builder: Builder, node: Node, inputs: list) -> None:
    x, *ends = inputs
    low, high = (*ends, None, None)[:2] if ends else (node.attrs.get("min"), node.attrs.get("max"))
    low, high = (None if end is None else float(end) for end in (low, high))
    if low == 0 and high is None:
        builder.layer("ReLU", [x], node.outputs[0])
    elif low == 0 and high == 6:
        builder.layer("ReLU6", [x], node.outputs[0])
    else:

        def fill(spec):
            spec.clip_param.min = -LARGEST if low is None else low
            spec.clip_param.max = LARGEST if high is None else high

        builder.layer("Clip", [x], node.outputs[0], fill=fill)


@operator("Add", "Sub", "Mul", "Div")
def _arithmetic(builder: Builder, node: Node, inputs: list) -> None:
    if all(isinstance(value, Blob) for value in inputs):
        _of_two(builder, node, inputs)
        return
    x, constant = inputs if isinstance(inputs[0], Blob) else inputs[::-1]
    flipped = x is not inputs[0]
    if node.op in ("Sub", "Div") and flipped and constant.size > 1 or node.op == "Div" and flipped:
        raise Unsupported("a constant less or over a value")
    if constant.size == 1:
        number = float(constant.reshape(-1)[0])

        def fill(spec):
            param = spec.power_param
            if node.op in ("Mul", "Div"):
                param.scale = number if node.op == "Mul" else 1 / number
            else:
                param.scale, param.shift = (
                    (-1.0 if flipped else 1.0),
                    (number if node.op == "Add" or flipped else -number),
                )

        builder.layer("Power", [x], node.outputs[0], fill=fill)
        return
    kind = "Bias" if node.op in ("Add", "Sub") else "Scale"
    array = {"Sub": np.negative, "Div": np.reciprocal}.get(node.op, np.asarray)(constant)
    shape = (1,) * (len(x.shape) - array.ndim) + array.shape
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    span = list(range(axes[0], axes[-1] + 1))
    if any(shape[axis] != x.shape[axis] for axis in span):
        raise Unsupported(f"a constant of shape {constant.shape} for a value of {x.shape}")

    def fill_span(spec):
        param = spec.bias_param if kind == "Bias" else spec.scale_param
        param.axis, param.num_axes = span[0], len(span)

    builder.layer(kind, [x], node.outputs[0], [array], fill_span)


def _of_two(builder: Builder, node: Node, pair: list) -> None:
    a, b = pair
    if node.op == "Div":
        raise Unsupported("a quotient of two values")
    if a.shape == b.shape:
        operation = EltwiseParameter.PROD if node.op == "Mul" else EltwiseParameter.SUM
        _eltwise(builder, pair, node.outputs[0], operation, [1, -1] if node.op == "Sub" else ())
        return
    large, small = (a, b) if math.prod(a.shape) > math.prod(b.shape) else (b, a)
    if node.op == "Sub" or len(small.shape) != len(large.shape):
        raise Unsupported(f"values of shapes {a.shape} and {b.shape}")
    if small.shape[:2] == large.shape[:2] and set(small.shape[2:]) == {1}:
        _of_a_column(builder, large, small, node)
    elif small.shape == (large.shape[0], 1, *large.shape[2:]):

        def fill(spec):
            spec.tile_param.axis, spec.tile_param.tiles = 1, large.shape[1]

        tiled = builder.layer("Tile", [small], f"{node.outputs[0]}/tiled", fill=fill)
        operation = EltwiseParameter.PROD if node.op == "Mul" else EltwiseParameter.SUM
        _eltwise(builder, [large, tiled], node.outputs[0], operation)
    else:
        raise Unsupported(f"values of shapes {a.shape} and {b.shape}")


def _of_a_column(builder: Builder, large: Blob, small: Blob, node: Node) -> None:
    """One number for each channel of an item, times or plus its pixels."""
    column = reshaped(builder, small, f"{node.outputs[0]}/column", small.shape[:2])

    def fill(spec):
        (spec.scale_param if node.op == "Mul" else spec.bias_param).axis = 0

    builder.layer("Scale" if node.op == "Mul" else "Bias", [large, column], node.outputs[0], fill=fill)
