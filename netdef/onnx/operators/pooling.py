"""Pooling and reductions as layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial, reduce

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, operator, reshaped
from demitasse.netdef.onnx.operators.constants import axes_of
from demitasse.netdef.onnx.operators.convolutions import padded, window_of
from demitasse.netdef.onnx.operators.lines import permuted
from demitasse.proto.messages import PoolingParameter, ReductionParameter


@operator("MaxPool", "AveragePool")
def _pooling(builder: Builder, node: Node, inputs: list) -> None:
    (x,), out, axes = inputs, node.outputs[0], len(inputs[0].shape) - 2
    kernel, stride, dilation, before, behind = window_of(node, x.shape[2:], ())
    if set(dilation) != {1} or len(node.outputs) > 1:
        raise Unsupported("a dilated window, or a second output")
    if axes == 1:  # Caffe's windows have two axes
        x = reshaped(builder, x, f"{out}/flat", (*x.shape[:2], 1, x.shape[2]))
        kernel, stride, before, behind = [1, *kernel], [1, *stride], [0, *before], [0, *behind]
    lines = list(zip(x.shape[2:], kernel, stride, before, behind, strict=True))
    counts = [_count(*line, ceil=bool(node.attrs.get("ceil_mode", 0))) for line in lines]
    method = PoolingParameter.MAX if node.op == "MaxPool" else PoolingParameter.AVE
    pad, ratios = before, []
    if method == PoolingParameter.AVE:
        if before != behind:
            x, pad = padded(builder, f"{out}/padded", x, before, behind), [0] * len(before)
        whole = bool(node.attrs.get("count_include_pad", 0))
        ratios = [_ratio(*line, count, whole) for line, count in zip(lines, counts, strict=True)]
    even = all((ratio == 1).all() for ratio in ratios)
    last = f"{out}/means" if not even else f"{out}/pooled" if axes == 1 else out
    top = _windows(builder, x, last, partial(_window, method=method, kernel=kernel, stride=stride, pad=pad), counts)
    if not even:
        top = _scaled(builder, top, f"{out}/pooled" if axes == 1 else out, ratios)
    if axes == 1:
        reshaped(builder, top, out, (*x.shape[:2], counts[1]))


def _count(n: int, k: int, s: int, before: int, behind: int, ceil: bool) -> int:
    """How many windows a line has; rounded up, the last begins before the pad behind."""
    room = n + before + behind - k
    count = (-(-room // s) if ceil else room // s) + 1
    return count - (ceil and (count - 1) * s >= n + before)


def _ratio(n: int, k: int, s: int, before: int, behind: int, count: int, whole: bool) -> np.ndarray:
    """The length by which Caffe divides the sum of each of a line's windows, over that by which ONNX does: `whole` of
    it with the pad, or the part in the image."""
    start = np.arange(count) * s - before
    caffe = np.minimum(start + k, n + behind) - start
    return caffe / (caffe if whole else np.minimum(start + k, n) - np.maximum(start, 0))


def _window(spec, floor: bool, method: int, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int]) -> None:
    param = spec.pooling_param
    param.pool = method
    if len(kernel) == 2:
        (param.kernel_h, param.kernel_w), (param.stride_h, param.stride_w) = kernel, stride
        if any(pad):
            param.pad_h, param.pad_w = pad
    else:
        param.kernel_shape.dim.extend(kernel)
        param.stride_shape.dim.extend(stride)
        param.pad_shape.dim.extend(pad)
    if floor:
        param.round_mode = PoolingParameter.FLOOR


def _windows(builder: Builder, x: Blob, out: str, fill, counts: Sequence[int]) -> Blob:
    """A Pooling of so many windows: Caffe's, whose number is rounded up, or the other of forks."""
    for floor in (False, True):
        top = builder.layer("Pooling", [x], out, fill=partial(fill, floor=floor))
        if list(top.shape[2:]) == list(counts):
            return top
        del builder.net.layer[-1]
    raise Unsupported(f"its {list(counts)} windows are none of Caffe's")


def _scaled(builder: Builder, x: Blob, out: str, lines: Sequence[np.ndarray]) -> Blob:
    """x with its pixels times the product of their axes' entries."""

    def fill(spec):
        spec.scale_param.axis, spec.scale_param.num_axes = 2, len(lines)

    return builder.layer("Scale", [x], out, [reduce(np.multiply.outer, lines)], fill)


@operator("GlobalAveragePool", "GlobalMaxPool")
def _global_pooling(builder: Builder, node: Node, inputs: list) -> None:
    (x,), out = inputs, node.outputs[0]
    flat = len(x.shape) == 3
    if flat:
        x = reshaped(builder, x, f"{out}/flat", (*x.shape[:2], 1, x.shape[2]))
    method = PoolingParameter.MAX if "Max" in node.op else PoolingParameter.AVE
    top = _whole(builder, x, f"{out}/pooled" if flat else out, method)
    if flat:
        reshaped(builder, top, out, (*x.shape[:2], 1))


def _whole(builder: Builder, x: Blob, out: str, method) -> Blob:
    """The whole image of each channel as one pixel."""

    def fill(spec):
        spec.pooling_param.pool = method
        spec.pooling_param.global_pooling = True

    return builder.layer("Pooling", [x], out, fill=fill)


_REDUCTIONS = {"ReduceSum": "SUM", "ReduceMean": "MEAN", "ReduceL1": "ASUM", "ReduceSumSquare": "SUMSQ"}
_REDUCTIONS |= {"ReduceL2": "SUMSQ", "ReduceMax": "", "ReduceMin": ""}


@operator(*_REDUCTIONS)
def _reduced(builder: Builder, node: Node, inputs: list) -> None:
    (x, *rest), out, rank = inputs, node.outputs[0], len(inputs[0].shape)
    axes = sorted(axis % rank for axis in axes_of(node, rest)) or list(range(rank))
    kept = [axis for axis in range(rank) if axis not in axes]
    keep = bool(node.attrs.get("keepdims", 1))
    shape = [1 if axis in axes else x.shape[axis] for axis in range(rank) if keep or axis not in axes]
    if node.op == "ReduceMean" and axes == [2, 3] and rank == 4:
        top = _whole(builder, x, f"{out}/reduced", PoolingParameter.AVE)
    else:
        if axes != list(range(len(kept), rank)):
            x = permuted(builder, x, f"{out}/turned", kept + axes)
        top = (_extreme if node.op in ("ReduceMax", "ReduceMin") else _sum)(builder, node, x, len(kept))
    reshaped(builder, top, out, shape)


def _sum(builder: Builder, node: Node, x: Blob, axis: int) -> Blob:
    def fill(spec):
        spec.reduction_param.operation = ReductionParameter.ReductionOp.Value(_REDUCTIONS[node.op])
        spec.reduction_param.axis = axis

    top = builder.layer("Reduction", [x], f"{node.outputs[0]}/reduced", fill=fill)
    if node.op != "ReduceL2":
        return top

    def root(spec):
        spec.power_param.power = 0.5

    return builder.layer("Power", [top], f"{node.outputs[0]}/root", fill=root)


def _extreme(builder: Builder, node: Node, x: Blob, axis: int) -> Blob:
    """The largest entry over all axes from one on, or the smallest: the opposite of the largest opposite."""
    out, least = node.outputs[0], node.op == "ReduceMin"

    def opposite(spec):
        spec.power_param.scale = -1

    shape = (1, math.prod(x.shape[:axis]), 1, math.prod(x.shape[axis:]))
    if least:
        x = builder.layer("Power", [x], f"{out}/opposite", fill=opposite)
    top = _whole(builder, reshaped(builder, x, f"{out}/rows", shape), f"{out}/largest", PoolingParameter.MAX)
    return builder.layer("Power", [top], f"{out}/smallest", fill=opposite) if least else top
