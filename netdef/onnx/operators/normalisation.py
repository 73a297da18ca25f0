"""Normalisation by a value's own statistics: BatchNorm, which takes those of the batch, of groups laid out as channels
of one item."""

from __future__ import annotations

import math

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, operator, reshaped


def normalised(builder: Builder, x: Blob, out: str, groups: int, eps: float) -> Blob:
    """x, whose numbers lie in so many groups one after the other, each group to mean 0 and variance 1."""
    each = math.prod(x.shape) // groups
    rows = reshaped(builder, x, f"{out}/groups", (1, groups, each))

    def fill(spec):
        spec.batch_norm_param.eps, spec.batch_norm_param.use_global_stats = eps, False

    nothing = [np.zeros(groups), np.zeros(groups), np.zeros(1)]
    normal = builder.layer("BatchNorm", [rows], f"{out}/normal", nothing, fill)
    return reshaped(builder, normal, f"{out}/whole", x.shape)


def scaled(builder: Builder, x: Blob, out: str, axis: int, gain: np.ndarray, shift: np.ndarray | None = None) -> None:
    """gain * x + shift, both arrays whose axes are those of x from `axis` on."""
    bias = [] if shift is None else [shift]

    def fill(spec):
        spec.scale_param.axis, spec.scale_param.num_axes, spec.scale_param.bias_term = axis, gain.ndim, bool(bias)

    builder.layer("Scale", [x], out, [gain, *bias], fill)


def _constants(values) -> None:
    if any(isinstance(value, Blob) for value in values):
        raise Unsupported("a gain or shift that is computed in the graph")


@operator("InstanceNormalization")
def _instance(builder: Builder, node: Node, inputs: list) -> None:
    x, *pair = inputs
    _constants(pair)
    normal = normalised(builder, x, node.outputs[0], x.shape[0] * x.shape[1], node.attrs.get("epsilon", 1e-5))
    scaled(builder, normal, node.outputs[0], 1, *pair)


@operator("GroupNormalization")
def _group(builder: Builder, node: Node, inputs: list) -> None:
    x, *pair = inputs
    _constants(pair)
    groups = node.attrs["num_groups"]
    gain, shift = (np.repeat(each, x.shape[1] // len(each)) for each in pair)  # one for each group until opset 21
    normal = normalised(builder, x, node.outputs[0], x.shape[0] * groups, node.attrs.get("epsilon", 1e-5))
    scaled(builder, normal, node.outputs[0], 1, gain, shift)


@operator("LayerNormalization")
def _layer(builder: Builder, node: Node, inputs: list) -> None:
    x, *pair = inputs
    pair = [each for each in pair if each is not None]
    _constants(pair)
    axis = node.attrs.get("axis", -1) % len(x.shape)
    groups = math.prod(x.shape[:axis])
    normal = normalised(builder, x, node.outputs[0], groups, node.attrs.get("epsilon", 1e-5))
    scaled(builder, normal, node.outputs[0], axis, *(np.broadcast_to(each, x.shape[axis:]) for each in pair))


@operator("MeanVarianceNormalization")
def _mean_variance(builder: Builder, node: Node, inputs: list) -> None:
    (x,), axes = inputs, list(node.attrs.get("axes", [0, 2, 3]))
    if axes not in ([2, 3], [1, 2, 3]):
        raise Unsupported(f"axes {axes}: [2, 3] or [1, 2, 3] have a layer")

    def fill(spec):
        spec.mvn_param.across_channels, spec.mvn_param.eps = axes[0] == 1, 1e-9

    builder.layer("MVN", [x], node.outputs[0], fill=fill)
