"""Convolutions, products and batch normalisation as layers."""

from __future__ import annotations

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, operator


def window_of(node: Node, axes: int) -> tuple[list, list, list, list, list]:
    """Kernel, stride, dilation, and the pad before and behind, for each axis."""
    attrs = node.attrs
    if attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Unsupported(f"auto_pad {attrs['auto_pad']}: export it with explicit pads")
    pads = list(attrs.get("pads", [0] * 2 * axes))
    ones = [1] * axes
    return (
        list(attrs.get("kernel_shape", ones)),
        list(attrs.get("strides", ones)),
        list(attrs.get("dilations", ones)),
        pads[:axes],
        pads[axes:],
    )


@operator("Conv", "ConvTranspose")
def _convolution(builder: Builder, node: Node, inputs: list) -> None:
    x, weight, *bias = inputs
    if not isinstance(weight, np.ndarray):
        raise Unsupported("its weights are computed in the graph")
    _, stride, dilation, before, behind = window_of(node, weight.ndim - 2)
    turned = node.op == "ConvTranspose"
    if turned and (any(node.attrs.get("output_padding", [])) or before != behind):
        raise Unsupported("output_padding, or pads that differ at the two ends")
    weight, pad = (weight, before) if turned else _evened(weight, before, behind, dilation)
    group, bias = node.attrs.get("group", 1), [b for b in bias if b is not None]

    def fill(spec):
        param = spec.convolution_param
        param.num_output = weight.shape[1] * group if turned else weight.shape[0]
        param.kernel_size.extend(weight.shape[2:])
        param.stride.extend(stride)
        param.pad.extend(pad)
        if set(dilation) != {1}:
            param.dilation.extend(dilation)
        if group > 1:
            param.group = group
        if not bias:
            param.bias_term = False

    builder.layer("Deconvolution" if turned else "Convolution", [x], node.outputs[0], [weight, *bias], fill)


def _evened(weight: np.ndarray, before: list, behind: list, dilation: list) -> tuple[np.ndarray, list]:
    """The kernel with zeros at its shorter pad's end, and the longer pad, which then serves both ends."""
    edges = [(0, 0), (0, 0)]
    for first, last, step in zip(before, behind, dilation, strict=True):
        if (first - last) % step:
            raise Unsupported(f"pads {before} and {behind} that differ at the two ends, with dilation")
        edges.append((max(last - first, 0) // step, max(first - last, 0) // step))
    return np.pad(weight, edges), list(map(max, before, behind))


@operator("Gemm")
def _product(builder: Builder, node: Node, inputs: list) -> None:
    x, weight, *bias = inputs
    odd = node.attrs.get("transA", 0) or {node.attrs.get("alpha", 1.0), node.attrs.get("beta", 1.0)} != {1.0}
    if odd or not isinstance(weight, np.ndarray):
        raise Unsupported("transA, alpha, beta, or weights that are computed in the graph")
    _inner_product(builder, node, x, weight if node.attrs.get("transB", 0) else weight.T, bias)


@operator("MatMul")
def _matmul(builder: Builder, node: Node, inputs: list) -> None:
    x, weight = inputs
    if not isinstance(x, Blob) or not isinstance(weight, np.ndarray) or weight.ndim != 2:
        raise Unsupported("a product of two values; by a constant matrix it would be an InnerProduct")
    _inner_product(builder, node, x, weight.T, [])


def _inner_product(builder, node, x, weight, bias):
    def fill(spec):
        param = spec.inner_product_param
        param.num_output, param.axis, param.bias_term = len(weight), len(x.shape) - 1, bool(bias)

    arrays = [weight, *(np.broadcast_to(b, (len(weight),)) for b in bias)]
    builder.layer("InnerProduct", [x], node.outputs[0], arrays, fill)


@operator("BatchNormalization")
def _batch_norm(builder: Builder, node: Node, inputs: list) -> None:
    x, gamma, beta, mean, variance = inputs
    out = node.outputs[0]

    def eps(spec):
        spec.batch_norm_param.eps = node.attrs.get("epsilon", 1e-5)

    def affine(spec):
        spec.scale_param.bias_term = True

    normal = builder.layer("BatchNorm", [x], f"{out}/normal", [mean, variance, np.ones(1)], eps)
    builder.layer("Scale", [normal], out, [gamma, beta], affine)
