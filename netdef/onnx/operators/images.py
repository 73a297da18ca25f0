"""Pooling and resizing as layers."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, operator, reshaped
from demitasse.netdef.onnx.operators.constants import axes_of
from demitasse.netdef.onnx.operators.convolutions import window_of
from demitasse.proto.messages import PoolingParameter, ReductionParameter

COORDINATES_SAID = 11  # the opset from which on Resize says which pixels it takes
REPEATING = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")}


@operator("MaxPool", "AveragePool")
def _pooling(builder: Builder, node: Node, inputs: list) -> None:
    (x,), largest = inputs, node.op == "MaxPool"
    kernel, stride, dilation, before, behind = window_of(node, x.shape[2:], ())
    if len(kernel) != 2 or set(dilation) != {1} or len(node.outputs) > 1:
        raise Unsupported("a dilated window, a second output, or other than two image axes")
    counts_pad = node.attrs.get("count_include_pad", 0) and before == behind
    if not largest and any(before + behind) and not counts_pad:
        raise Unsupported("a mean that leaves the pad out (count_include_pad: 0), or pads that differ at the two ends")
    ceil = bool(node.attrs.get("ceil_mode", 0))
    room = [n + p + q - k for n, p, q, k in zip(x.shape[2:], before, behind, kernel, strict=True)]
    wanted = [(-(-r // s) if ceil else r // s) + 1 for r, s in zip(room, stride, strict=True)]

    def fill(spec, floor):
        param = spec.pooling_param
        param.pool = PoolingParameter.MAX if largest else PoolingParameter.AVE
        param.kernel_h, param.kernel_w = kernel
        param.stride_h, param.stride_w = stride
        if any(before):
            param.pad_h, param.pad_w = before
        if floor:
            param.round_mode = PoolingParameter.FLOOR

    for floor in (False, True):
        top = builder.layer("Pooling", [x], node.outputs[0], fill=partial(fill, floor=floor))
        if list(top.shape[2:]) == wanted:
            return
        del builder.net.layer[-1]
    raise Unsupported(f"its {wanted} windows are none of Caffe's")


@operator("GlobalAveragePool", "GlobalMaxPool")
def _global_pooling(builder: Builder, node: Node, inputs: list) -> None:
    method = PoolingParameter.MAX if "Max" in node.op else PoolingParameter.AVE
    _pooled(builder, inputs[0], node.outputs[0], method)


def _pooled(builder: Builder, x: Blob, out: str, method) -> Blob:
    """The whole image of each channel as one pixel."""

    def fill(spec):
        spec.pooling_param.pool = method
        spec.pooling_param.global_pooling = True

    return builder.layer("Pooling", [x], out, fill=fill)


_REDUCTIONS = {"ReduceSum": "SUM", "ReduceMean": "MEAN", "ReduceL1": "ASUM", "ReduceSumSquare": "SUMSQ"}


@operator(*_REDUCTIONS)
def _reduced(builder: Builder, node: Node, inputs: list) -> None:
    (x, *rest), out = inputs, node.outputs[0]
    count = len(x.shape)
    axes = sorted(axis % count for axis in axes_of(node, rest)) or list(range(count))
    if axes != list(range(axes[0], count)):
        raise Unsupported(f"axes {axes} of {count}: they must be all from one axis on")
    if node.op == "ReduceMean" and axes == [2, 3]:
        top = _pooled(builder, x, f"{out}/reduced", PoolingParameter.AVE)
    else:

        def fill(spec):
            spec.reduction_param.operation = ReductionParameter.ReductionOp.Value(_REDUCTIONS[node.op])
            spec.reduction_param.axis = axes[0]

        top = builder.layer("Reduction", [x], f"{out}/reduced", fill=fill)
    keep = [1] * len(axes) if node.attrs.get("keepdims", 1) else []
    reshaped(builder, top, out, (*x.shape[: axes[0]], *keep))


@operator("LRN")
def _lrn(builder: Builder, node: Node, inputs: list) -> None:
    attrs = node.attrs

    def fill(spec):
        param = spec.lrn_param
        param.local_size, param.k = attrs["size"], attrs.get("bias", 1.0)
        param.alpha, param.beta = attrs.get("alpha", 1e-4), attrs.get("beta", 0.75)

    builder.layer("LRN", inputs, node.outputs[0], fill=fill)


@operator("Resize", "Upsample")
def _resize(builder: Builder, node: Node, inputs: list) -> None:
    x, *rest = inputs
    given = [value for value in rest if isinstance(value, np.ndarray) and value.size == len(x.shape)]
    if not given:
        raise Unsupported("sizes that are computed in the run")
    sizes = given[-1]
    whole = np.issubdtype(sizes.dtype, np.integer)
    out = [int(n) if whole else math.floor(n * size) for n, size in zip(sizes, x.shape, strict=True)]
    mode, older = node.attrs.get("mode", "nearest"), builder.opset < COORDINATES_SAID
    usual = "asymmetric" if older and mode == "nearest" else "half_pixel"  # torch meant the latter for "linear"
    how = node.attrs.get("coordinate_transformation_mode", usual)
    rounding = node.attrs.get("nearest_mode", "floor" if older else "round_prefer_floor")
    factors = {b / a for a, b in zip(x.shape[2:], out[2:], strict=True)}
    factor = int(next(iter(factors))) if len(factors) == 1 and next(iter(factors)).is_integer() else 0
    if out[:2] != list(x.shape[:2]) or len(out) != 4:
        raise Unsupported("a resizing of other axes than height and width")
    if mode == "linear" and how == "align_corners":

        def fill(spec):
            spec.interp_param.height, spec.interp_param.width = out[2:]

        builder.layer("Interp", [x], node.outputs[0], fill=fill)
    elif mode == "linear" and factor and how in ("half_pixel", "pytorch_half_pixel"):
        _half_pixel(builder, x, node.outputs[0], factor)
    elif mode == "nearest" and factor > 1 and (how, rounding) in REPEATING:

        def repeat(spec):
            spec.upsample_param.scale = factor

        builder.layer("Upsample", [x], node.outputs[0], fill=repeat)
    else:
        raise Unsupported(f"mode {mode}, {how}, from {x.shape[2:]} to {tuple(out[2:])}")


def _half_pixel(builder: Builder, x: Blob, out: str, factor: int) -> None:
    """Bilinear upsampling whose border is the image's last pixel on: a Deconvolution, over the part of its kernel that
    lay on the image."""
    size, channels = 2 * factor - factor % 2, x.shape[1]
    line = 1 - np.abs(np.arange(size) - (size - 1) / 2) / factor
    kernel = np.broadcast_to(np.outer(line, line), (channels, 1, size, size))

    def fill(spec):
        param = spec.convolution_param
        param.num_output, param.group, param.bias_term = channels, channels, False
        param.kernel_size.append(size)
        param.stride.append(factor)
        param.pad.append(-(-(factor - 1) // 2))

    top = builder.layer("Deconvolution", [x], f"{out}/bilinear", [kernel], fill)
    shares = [_share(n, factor, line, size) for n in x.shape[2:]]

    def scale(spec):
        spec.scale_param.axis, spec.scale_param.num_axes = 2, 2

    builder.layer("Scale", [top], out, [1 / np.outer(*shares)], scale)


def _share(count: int, factor: int, line: np.ndarray, size: int) -> np.ndarray:
    """How much of the kernel lies on the image, at each pixel of a line of the top."""
    whole = np.zeros(factor * (count - 1) + size)
    for i in range(count):
        whole[i * factor : i * factor + size] += line
    pad = -(-(factor - 1) // 2)
    return whole[pad : len(whole) - pad]
