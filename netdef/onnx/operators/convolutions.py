"""Convolutions, products and batch normalisation as layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, operator
from demitasse.netdef.onnx.operators.lines import along, bordered, permuted
from demitasse.netdef.onnx.operators.slices import cut


def window_of(node: Node, sizes: Sequence[int], kernel: Sequence[int]) -> tuple[list, list, list, list, list]:
    """Kernel, stride, dilation, and the pad before and behind, for each axis of an image of these sizes."""
    attrs, axes = node.attrs, len(sizes)
    kernel = list(attrs.get("kernel_shape", kernel))
    stride, dilation = (list(attrs.get(name, [1] * axes)) for name in ("strides", "dilations"))
    pads, auto = list(attrs.get("pads", [0] * 2 * axes)), attrs.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER") and node.op == "ConvTranspose":
        attrs.setdefault("output_shape", [n * s for n, s in zip(sizes, stride, strict=True)])
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        reach = [
            max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True)
        ]
        less, more = [total // 2 for total in reach], [total - total // 2 for total in reach]
        pads = less + more if auto == "SAME_UPPER" else more + less
    elif auto not in ("NOTSET", "VALID"):
        raise Unsupported(f"auto_pad {auto}: export it with explicit pads")
    return kernel, stride, dilation, pads[:axes], pads[axes:]


@operator("Conv", "ConvTranspose")
def _convolution(builder: Builder, node: Node, inputs: list) -> None:
    x, weight, *bias = inputs
    if not isinstance(weight, np.ndarray):
        raise Unsupported("its weights are computed in the graph")
    _, stride, dilation, before, behind = window_of(node, x.shape[2:], weight.shape[2:])
    turned, out = node.op == "ConvTranspose", node.outputs[0]
    group, bias = node.attrs.get("group", 1), [b for b in bias if b is not None]
    if turned:
        before, behind = _cut_ends(node, x.shape[2:], weight.shape[2:], stride, dilation, before, behind)
        pad = [max(min(ends), 0) for ends in zip(before, behind, strict=True)]
    else:
        if any((a - b) % d for a, b, d in zip(before, behind, dilation, strict=True)):
            x, before, behind = padded(builder, f"{out}/padded", x, before, behind), [0, 0], [0, 0]
        weight, pad = _evened(weight, before, behind, dilation)

    def fill(spec, bias=bias):
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

    if not turned:
        builder.layer("Convolution", [x], out, [weight, *bias], fill)
    elif before == behind == pad:
        builder.layer("Deconvolution", [x], out, [weight, *bias], fill)
    elif min(before + behind) >= 0:
        whole = builder.layer("Deconvolution", [x], f"{out}/whole", [weight, *bias], fill)
        ends = zip(before, behind, pad, whole.shape[2:], strict=True)
        cut(builder, whole, out, {axis: (a - p, n - (b - p)) for axis, (a, b, p, n) in enumerate(ends, 2)})
    else:  # longer than its kernel reaches: there is nothing but the bias
        whole = builder.layer("Deconvolution", [x], f"{out}/whole", [weight], partial(fill, bias=[]))
        more = enumerate(zip(before, behind, pad, strict=True), 2)
        longer = {axis: bordered(whole.shape[axis], p - a, p - b, "constant") for axis, (a, b, p) in more}
        along(builder, whole, f"{out}/longer" if bias else out, longer)
        if bias:
            builder.layer("Bias", [builder.blob(f"{out}/longer")], out, bias)


def _cut_ends(node: Node, sizes, kernel, stride, dilation, before: list, behind: list) -> tuple[list, list]:
    """How much of a transposed convolution's whole top is left out at its two ends; below 0 where it is longer."""
    more = node.attrs.get("output_padding", [0] * len(before))
    wanted = node.attrs.get("output_shape")
    if wanted is None:
        return before, [b - m for b, m in zip(behind, more, strict=True)]
    whole = [s * (n - 1) + (k - 1) * d + 1 for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True)]
    total = [a + m - b for a, m, b in zip(whole, more, wanted[-len(whole) :], strict=True)]
    less, rest = [each // 2 for each in total], [each - each // 2 for each in total]
    upper = node.attrs.get("auto_pad", "NOTSET") == "SAME_UPPER"
    first, last = (less, rest) if upper else (rest, less)
    return first, [b - m for b, m in zip(last, more, strict=True)]


def _evened(weight: np.ndarray, before: list, behind: list, dilation: list) -> tuple[np.ndarray, list]:
    """The kernel with zeros at its shorter pad's end, and the longer pad, which then serves both ends."""
    edges = [(0, 0), (0, 0)]
    for first, last, step in zip(before, behind, dilation, strict=True):
        edges.append((max(last - first, 0) // step, max(first - last, 0) // step))
    return np.pad(weight, edges), list(map(max, before, behind))


def padded(builder: Builder, out: str, x: Blob, before: list, behind: list) -> Blob:
    """x with zeros around its image: a convolution of each channel with a kernel of one 1, which has pads."""
    channels = x.shape[1]
    pixel = np.ones((channels, 1, *(1 for _ in before)), np.float32)
    kernel, pad = _evened(pixel, before, behind, [1] * len(before))

    def fill(spec):
        param = spec.convolution_param
        param.num_output, param.group, param.bias_term = channels, channels, False
        param.kernel_size.extend(kernel.shape[2:])
        param.pad.extend(pad)

    return builder.layer("Convolution", [x], out, [kernel], fill)


@operator("Gemm")
def _product(builder: Builder, node: Node, inputs: list) -> None:
    x, weight, *bias = inputs
    if not isinstance(x, Blob) or not isinstance(weight, np.ndarray) or any(isinstance(b, Blob) for b in bias):
        raise Unsupported("a product of two values, or a bias that is computed in the graph")
    if node.attrs.get("transA", 0):
        x = permuted(builder, x, f"{node.outputs[0]}/turned", [1, 0])
    weight = (weight if node.attrs.get("transB", 0) else weight.T) * node.attrs.get("alpha", 1.0)
    _inner_product(builder, node, x, weight, [b * node.attrs.get("beta", 1.0) for b in bias])


@operator("MatMul")
def _matmul(builder: Builder, node: Node, inputs: list) -> None:
    x, weight = inputs
    if isinstance(weight, np.ndarray) and weight.ndim > 1 and weight.size == math.prod(weight.shape[-2:]):
        if len(x.shape) >= weight.ndim:
            _inner_product(builder, node, x, weight.reshape(weight.shape[-2:]).T, [])
            return
    if isinstance(x, np.ndarray) and x.ndim == 2 and len(weight.shape) > 1:
        along(builder, weight, node.outputs[0], {len(weight.shape) - 2: x})
        return
    raise Unsupported("a product of two values; by a constant matrix it would be an InnerProduct")


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
