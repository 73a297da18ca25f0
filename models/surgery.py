"""Surgery on weights: what turns a classifier into the start of an FCN, and one net's weights into another's.

Weights are {layer name: [arrays]}, as proto/weights.py reads and writes them; shapes are those of a net's params,
{layer name: [shapes]} (`param_shapes`).  Nothing is changed in place, and every count is checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from demitasse.layers.fillers import diagonal_bilinear
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import ShapeFault, WeightsFault
from demitasse.proto.messages import NetParameter
from demitasse.proto.text import read_net

Weights = dict[str, list[np.ndarray]]
Shapes = dict[str, list[tuple[int, ...]]]


def param_shapes(source) -> Shapes:
    """Shapes of all params of a net (a path or a NetParameter), without allocating them."""
    return {name: [param.shape for param in params] for name, params in Plan(source).params.items()}


@dataclass
class TransplantReport:
    """What a transplant did, in the words of netdef's LoadReport; str() is the sentence to print."""

    matched: list[str] = field(default_factory=list)  # layers that were taken
    coerced: list[str] = field(default_factory=list)  # "fc6 0: (4096, 25088) to (4096, 512, 7, 7)"
    unused: list[str] = field(default_factory=list)  # in the source, not in the target
    missing: list[str] = field(default_factory=list)  # in the target, not in the source

    def __str__(self) -> str:
        parts = [
            f"{word} {len(names)} ({', '.join(names)})" if names else f"{word} none"
            for word, names in vars(self).items()
        ]
        return "; ".join(parts)


def transplant(
    weights: Mapping[str, Sequence[np.ndarray]],
    shapes: Shapes,
    suffix: str = "",
    rename: Mapping[str, str] | None = None,
) -> tuple[Weights, TransplantReport]:
    """The weights that a net of these shapes can take from others: a layer p fits p + suffix, or rename[p].

    Equal counts are coerced to the target's shape, as from fully connected to convolutional layers; layers that the
    target lacks stay unused.  Raises WeightsFault where counts differ (with both sides) or nothing matches at all.
    """
    taken, report = {}, TransplantReport()
    for source, arrays in weights.items():
        name = (rename or {}).get(source, source + suffix)
        if name not in shapes:
            report.unused.append(source)
            continue
        taken[name] = []
        for i, (array, shape) in enumerate(zip(arrays, shapes[name], strict=False)):
            if array.size != math.prod(shape):
                raise WeightsFault(
                    f"layer '{source}' blob {i} has {array.size} values of shape {array.shape}, but "
                    f"'{name}' needs {math.prod(shape)} of shape {tuple(shape)}: rename one of the two "
                    "layers to leave it out, or change its classes first"
                )
            taken[name].append(array.reshape(shape))
            if array.shape != tuple(shape):
                report.coerced.append(f"{name} {i}: {array.shape} to {tuple(shape)}")
        if len(arrays) > len(shapes[name]):
            report.unused.append(f"{source} {len(shapes[name])}")
        report.matched.append(name)
    if not taken:
        raise WeightsFault(f"no layer in common: the weights have {_some(weights)}, the net has {_some(shapes)}")
    report.missing = [name for name in shapes if name not in taken]
    return taken, report


def interp(shapes: Shapes, layers: Iterable[str]) -> Weights:
    """Weights with which these Deconvolution layers interpolate, each channel on its own: the bilinear kernel on
    the diagonal of (channels, channels or 1, k, k), zeros elsewhere.  Raises ShapeFault for other shapes."""
    made = {}
    for name in layers:
        inputs, outputs, height, width = shape = tuple(shapes[name][0])
        if outputs not in (inputs, 1) or height != width:
            raise ShapeFault(
                f"layer '{name}' cannot interpolate with weights of shape {shape}: as many channels out "
                "as in (or a group for each) and a square kernel are needed"
            )
        made[name] = [diagonal_bilinear(shape)]
    return made


def upsampling_layers(source) -> list[str]:
    """The Deconvolution layers of a net whose weights are fixed (lr_mult 0): those that `interp` is for."""
    message, _ = read_net(source)
    return [
        layer.name
        for layer in message.layer
        if layer.type == "Deconvolution" and layer.param and layer.param[0].lr_mult == 0
    ]


def change_classes(arrays: Sequence[np.ndarray], sources: Sequence[int | None]) -> list[np.ndarray]:
    """A score layer's weights (C, K, 1, 1) and biases (C) for other classes: new class i is what the old class
    sources[i] was, or starts at zero where that is None.  WeightsFault for a class that the old layer has not."""
    old = len(arrays[0])
    wrong = [c for c in sources if c is not None and not 0 <= c < old]
    if wrong:
        raise WeightsFault(f"there is no class {wrong[0]} among the {old} of this score layer (0 to {old - 1})")
    changed = []
    for array in arrays:
        new = np.zeros((len(sources), *array.shape[1:]), array.dtype)
        for i, c in enumerate(sources):
            if c is not None:
                new[i] = array[c]
        changed.append(new)
    return changed


def expand_score(arrays: Sequence[np.ndarray], classes: int) -> list[np.ndarray]:
    """A score layer's arrays, (classes, ...) each: as many old classes as there are, then classes that start at zero.

    WeightsFault for fewer classes than there are.
    """
    old = len(arrays[0])
    if classes < old:
        raise WeightsFault(f"a score layer of {old} classes cannot be expanded to {classes}")
    return change_classes(arrays, [*range(old), *[None] * (classes - old)])


def add_channels(arrays: Sequence[np.ndarray], count: int = 1) -> list[np.ndarray]:
    """A first layer's (O, C, k, k) weights for `count` more input channels (RGB to RGB-D): each new one weighs as
    the mean of the old ones; biases stay."""
    weight = arrays[0]
    mean = weight.mean(axis=1, keepdims=True)
    return [np.concatenate([weight, *[mean] * count], axis=1), *arrays[1:]]


def convolutional(source, input_shape: tuple[int, ...] | None = None) -> NetParameter:
    """A classifier as a net of convolutions only, which takes images of any size from its own upwards and gives a
    map of scores: each InnerProduct becomes a Convolution over the extent that it saw (FCN paper, section 3.1).

    Names stay, so that `transplant` brings the weights over.  Average pooling over the whole map gets the map's size
    as its kernel.  input_shape: of the result's Input, (N, C, H, W); None: the classifier's own.
    ShapeFault for a Flatten in its way.
    """
    message, _ = read_net(source)
    plan = Plan(message)
    result = NetParameter()
    result.CopyFrom(message)
    flattened = set()  # blobs that are maps no more but for their count
    for layer in result.layer:
        step = plan.by_name[layer.name]
        shape = step.bottoms[0].shape if step.bottoms else ()
        if layer.type == "InnerProduct":
            _to_convolution(layer, shape if layer.bottom[0] not in flattened else (*shape[:2], 1, 1))
            flattened.update(layer.top)
        elif layer.type == "Flatten":
            raise ShapeFault(
                f"layer '{layer.name}' (Flatten) keeps the net from being convolutional: leave it out, "
                "an InnerProduct flattens by itself"
            )
        elif layer.type == "Pooling" and layer.pooling_param.global_pooling:
            layer.pooling_param.ClearField("global_pooling")
            layer.pooling_param.kernel_h, layer.pooling_param.kernel_w = shape[2:]
        elif layer.type == "Input" and input_shape:
            del layer.input_param.shape[:]
            layer.input_param.shape.add(dim=input_shape)
        if layer.bottom and layer.bottom[0] in flattened:
            flattened.update(layer.top)
    return result


def _to_convolution(layer, bottom_shape: tuple[int, ...]) -> None:
    """Turn an InnerProduct message into the Convolution whose kernel covers the whole bottom."""
    if len(bottom_shape) != 4:
        raise ShapeFault(
            f"layer '{layer.name}' (InnerProduct) reads a blob of shape {bottom_shape}: only one on maps "
            "(N, C, H, W) can become a convolution"
        )
    inner = layer.inner_product_param
    if inner.axis != 1 or inner.transpose:
        raise ShapeFault(
            f"layer '{layer.name}' (InnerProduct) has axis {inner.axis}, transpose {inner.transpose}: "
            "only axis 1 without transpose can become a convolution"
        )
    conv = layer.convolution_param
    conv.num_output, conv.bias_term = inner.num_output, inner.bias_term
    if bottom_shape[2] == bottom_shape[3]:
        conv.kernel_size.append(bottom_shape[2])
    else:
        conv.kernel_h, conv.kernel_w = bottom_shape[2:]
    for name in ("weight_filler", "bias_filler"):
        if inner.HasField(name):
            getattr(conv, name).CopyFrom(getattr(inner, name))
    layer.type = "Convolution"
    layer.ClearField("inner_product_param")


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def late_fusion(net, parts: dict[str, Weights]) -> tuple[Weights, dict[str, TransplantReport]]:
    """One net's weights from several nets': layer p of each goes to p + its suffix."""
    shapes, made, reports = param_shapes(net), {}, {}
    for suffix, weights in parts.items():
        taken, reports[suffix] = transplant(weights, shapes, suffix)
        made |= taken
    return made, reports
