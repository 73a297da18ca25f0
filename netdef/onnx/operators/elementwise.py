"""Functions of each number, and arithmetic of two values, as layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, expanded, operator, reshaped
from demitasse.proto.messages import EltwiseParameter

LARGEST = float(np.finfo(np.float32).max)
_NEURONS = {"Relu": "ReLU", "Sigmoid": "Sigmoid", "Tanh": "TanH", "Abs": "AbsVal", "Softplus": "BNLL", "Exp": "Exp"}
_NEURONS |= {"Log": "Log"}
SELU = 1.67326319217681884765625, 1.05070102214813232421875  # alpha and gamma where a node does not say them


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


@operator("Selu", "Celu")
def _scaled_elu(builder: Builder, node: Node, inputs: list) -> None:
    (x,), out, attrs = inputs, node.outputs[0], node.attrs
    alpha = attrs.get("alpha", SELU[0] if node.op == "Selu" else 1.0)
    if node.op == "Celu":
        x = power(builder, x, f"{out}/line", scale=1 / alpha)

    def fill(spec):
        spec.elu_param.alpha = alpha if node.op == "Selu" else 1.0

    top = builder.layer("ELU", [x], f"{out}/elu", fill=fill)
    power(builder, top, out, scale=attrs.get("gamma", SELU[1]) if node.op == "Selu" else alpha)


@operator("Mish", "Softsign", "ThresholdedRelu")
def _times_a_gate(builder: Builder, node: Node, inputs: list) -> None:
    """x times what a function of it lets through."""
    (x,), out = inputs, node.outputs[0]
    if node.op == "Mish":
        gate = builder.layer("TanH", [builder.layer("BNLL", [x], f"{out}/softplus")], f"{out}/gate")
    elif node.op == "Softsign":
        size = builder.layer("AbsVal", [x], f"{out}/size")
        gate = power(builder, size, f"{out}/gate", shift=1.0, power=-1.0)
    else:

        def fill(spec):
            spec.threshold_param.threshold = node.attrs.get("alpha", 1.0)

        gate = builder.layer("Threshold", [x], f"{out}/gate", fill=fill)
    eltwise(builder, [x, gate], out, EltwiseParameter.PROD)


_POWERS = {"Neg": (1.0, -1.0), "Sqrt": (0.5, 1.0), "Reciprocal": (-1.0, 1.0)}


@operator(*_POWERS)
def _fixed_power(builder: Builder, node: Node, inputs: list) -> None:
    exponent, scale = _POWERS[node.op]
    power(builder, inputs[0], node.outputs[0], power=exponent, scale=scale)


@operator("Pow")
def _to_the(builder: Builder, node: Node, inputs: list) -> None:
    x, exponent = inputs
    if isinstance(exponent, Blob) or exponent.size != 1:
        raise Unsupported("an exponent that is not one number")
    power(builder, x, node.outputs[0], power=float(exponent.reshape(-1)[0]))


def power(builder: Builder, x: Blob, out: str, **fields: float) -> Blob:
    """(shift + scale * x) ** power."""

    def fill(spec):
        for field, value in fields.items():
            setattr(spec.power_param, field, value)

    return builder.layer("Power", [x], out, fill=fill)


@operator("HardSigmoid", "HardSwish")
def _hard_sigmoid(builder: Builder, node: Node, inputs: list) -> None:
    (x,), out, swish = inputs, node.outputs[0], node.op == "HardSwish"
    slope = 1 / 6 if swish else node.attrs.get("alpha", 0.2)
    line = power(builder, x, f"{out}/line", scale=slope, shift=node.attrs.get("beta", 0.5))

    def fill(spec):
        spec.clip_param.min, spec.clip_param.max = 0, 1

    gate = builder.layer("Clip", [line], f"{out}/gate" if swish else out, fill=fill)
    if swish:
        eltwise(builder, [x, gate], out, EltwiseParameter.PROD)


@operator("Max", "Min", "Sum", "Mean")
def _of_many(builder: Builder, node: Node, inputs: list) -> None:
    blobs, constants = ([v for v in inputs if isinstance(v, Blob) is which] for which in (True, False))
    out, extreme = node.outputs[0], node.op in ("Max", "Min")
    if constants and not (extreme and len(blobs) == 1 and all(array.size == 1 for array in constants)):
        raise Unsupported("constants beside values")
    if constants:
        ends = [float(array.reshape(-1)[0]) for array in constants]
        held_between(builder, blobs[0], out, *((max(ends), None) if node.op == "Max" else (None, min(ends))))
        return
    shape = np.broadcast_shapes(*(blob.shape for blob in blobs))
    blobs = [expanded(builder, blob, f"{out}/{i}", shape) for i, blob in enumerate(blobs)]
    if node.op == "Min":
        blobs = [power(builder, blob, f"{out}/opposite_{i}", scale=-1.0) for i, blob in enumerate(blobs)]
        eltwise(builder, blobs, f"{out}/largest", EltwiseParameter.MAX)
        power(builder, builder.blob(f"{out}/largest"), out, scale=-1.0)
        return
    coeff = [1 / len(blobs)] * len(blobs) if node.op == "Mean" else ()
    eltwise(builder, blobs, out, EltwiseParameter.MAX if extreme else EltwiseParameter.SUM, coeff)


def eltwise(builder: Builder, values: list[Blob], out: str, operation: int, coeff: Sequence[float] = ()) -> None:
    """The sum (times coeff), product or maximum of values of one shape."""

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
    if isinstance(low, Blob) or isinstance(high, Blob):
        raise Unsupported("ends that are computed in the graph")
    held_between(builder, x, node.outputs[0], *(None if end is None else float(end) for end in (low, high)))


def held_between(builder: Builder, x: Blob, out: str, low: float | None, high: float | None) -> None:
    """x held between low and high, where they are given."""
    if low == 0 and high is None:
        builder.layer("ReLU", [x], out)
    elif low == 0 and high == 6:
        builder.layer("ReLU6", [x], out)
    else:

        def fill(spec):
            spec.clip_param.min = -LARGEST if low is None else low
            spec.clip_param.max = LARGEST if high is None else high

        builder.layer("Clip", [x], out, fill=fill)


@operator("Add", "Sub", "Mul", "Div")
def _arithmetic(builder: Builder, node: Node, inputs: list) -> None:
    if all(isinstance(value, Blob) for value in inputs):
        _of_two(builder, node, inputs)
        return
    x, constant = inputs if isinstance(inputs[0], Blob) else inputs[::-1]
    out = node.outputs[0]
    if constant.size == 1 and constant.ndim <= len(x.shape):
        _with_number(builder, node, x, float(constant.reshape(-1)[0]), flipped=x is not inputs[0])
        return
    if x is not inputs[0] and node.op in ("Sub", "Div"):  # constant - x, constant / x
        fields = {"scale": -1.0} if node.op == "Sub" else {"power": -1.0}
        x = power(builder, x, f"{out}/turned", **fields)
    elif node.op in ("Sub", "Div"):
        constant = -constant if node.op == "Sub" else 1 / constant
    _with_array(builder, "Bias" if node.op in ("Add", "Sub") else "Scale", x, out, constant)


def _with_array(builder: Builder, kind: str, x: Blob, out: str, constant: np.ndarray) -> Blob:
    """x plus (Bias) or times (Scale) a constant, broadcast."""
    x = expanded(builder, x, f"{out}/expanded", np.broadcast_shapes(x.shape, constant.shape))
    shape = (1,) * (len(x.shape) - constant.ndim) + constant.shape
    axes = [axis for axis, size in enumerate(shape) if size > 1] or [0]
    first, end = axes[0], axes[-1] + 1
    array = np.broadcast_to(constant.reshape(shape[first:end]), x.shape[first:end])

    def fill(spec):
        param = spec.bias_param if kind == "Bias" else spec.scale_param
        param.axis, param.num_axes = first, end - first

    return builder.layer(kind, [x], out, [array], fill)


@operator("Where")
def _where(builder: Builder, node: Node, inputs: list) -> None:
    """A choice that is known beforehand: each side times 1 where it is taken, 0 elsewhere."""
    condition, *sides = inputs
    if isinstance(condition, Blob):
        raise Unsupported("a condition that is computed of values")
    out, shape = node.outputs[0], np.broadcast_shapes(*(each.shape for each in inputs))
    fixed, parts = np.zeros(shape, np.float32), list[Blob]()
    for side, taken in zip(sides, (condition, ~condition), strict=True):
        if isinstance(side, Blob):
            parts.append(_with_array(builder, "Scale", side, f"{out}/part_{len(parts)}", taken.astype(np.float32)))
        else:
            fixed += np.where(taken, side, 0)
    parts = [expanded(builder, part, f"{out}/whole_{i}", shape) for i, part in enumerate(parts)]
    eltwise(builder, parts, f"{out}/sum", EltwiseParameter.SUM)
    chosen = builder.blob(f"{out}/sum")
    builder.values[out] = _with_array(builder, "Bias", chosen, out, fixed) if fixed.any() else chosen


def _with_number(builder: Builder, node: Node, x: Blob, number: float, flipped: bool) -> None:
    if node.op in ("Add", "Sub"):
        minus = node.op == "Sub"
        fields = {"scale": -1.0 if minus and flipped else 1.0, "shift": -number if minus and not flipped else number}
    elif node.op == "Div" and flipped:
        fields = {"power": -1.0, "scale": 1 / number}
    else:
        fields = {"scale": number if node.op == "Mul" else 1 / number}
    power(builder, x, node.outputs[0], **fields)


def _of_two(builder: Builder, node: Node, pair: list) -> None:
    (a, b), out = pair, node.outputs[0]
    if node.op == "Div":
        b = power(builder, b, f"{out}/reciprocal", power=-1.0)
    product = node.op in ("Mul", "Div")
    operation = EltwiseParameter.PROD if product else EltwiseParameter.SUM
    large, small = (a, b) if math.prod(a.shape) > math.prod(b.shape) else (b, a)
    column = len(small.shape) == len(large.shape) > 2 and small.shape[:2] == large.shape[:2]
    if column and a.shape != b.shape and set(small.shape[2:]) == {1} and node.op != "Sub":
        _of_a_column(builder, large, small, out, product)
        return
    shape = np.broadcast_shapes(a.shape, b.shape)
    pair = [expanded(builder, blob, f"{out}/{i}", shape) for i, blob in enumerate((a, b))]
    eltwise(builder, pair, out, operation, [1, -1] if node.op == "Sub" else ())


def _of_a_column(builder: Builder, large: Blob, small: Blob, out: str, product: bool) -> None:
    """One number for each channel of an item, times or plus its pixels."""
    column = reshaped(builder, small, f"{out}/column", small.shape[:2])

    def fill(spec):
        (spec.scale_param if product else spec.bias_param).axis = 0

    builder.layer("Scale" if product else "Bias", [large, column], out, fill=fill)
