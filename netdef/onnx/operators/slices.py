"""Parts of values, as layers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, operator, reshaped
from demitasse.netdef.onnx.operators.constants import bounds_of
from demitasse.netdef.onnx.operators.lines import along, chosen


@operator("Slice")
def _slice(builder: Builder, node: Node, inputs: list) -> None:
    x, *words = inputs
    if any(isinstance(word, Blob) for word in words):
        raise Unsupported("bounds that are computed of values")
    starts, ends, axes, steps = bounds_of(node, words)
    axes, out = [int(axis) % len(x.shape) for axis in axes], node.outputs[0]
    windows = [slice(int(a), int(b), int(c)) for a, b, c in zip(starts, ends, steps, strict=True)]
    places = {axis: range(x.shape[axis])[window] for axis, window in zip(axes, windows, strict=True)}
    taken(builder, x, out, places)


@operator("Gather")
def _gather(builder: Builder, node: Node, inputs: list) -> None:
    (x, index), out = inputs, node.outputs[0]
    axis = node.attrs.get("axis", 0) % len(x.shape)
    if isinstance(x, np.ndarray):
        raise Unsupported("rows of a constant by numbers that a run brings")
    if isinstance(index, Blob):
        raise Unsupported("places that are computed of values")
    places = np.where(index < 0, index + x.shape[axis], index).reshape(-1).astype(int)
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    if index.ndim == 1:
        taken(builder, x, out, {axis: places})
    else:
        taken(builder, x, f"{out}/taken", {axis: places})
        reshaped(builder, builder.blob(f"{out}/taken"), out, shape)


@operator("GatherND")
def _gather_nd(builder: Builder, node: Node, inputs: list) -> None:
    x, index = inputs
    if isinstance(x, np.ndarray) or isinstance(index, Blob) or node.attrs.get("batch_dims", 0):
        raise Unsupported("places that are computed of values, or batch_dims")
    out, count = node.outputs[0], index.shape[-1]
    lines = reshaped(builder, x, f"{out}/lines", (math.prod(x.shape[:count]), *x.shape[count:]))
    ends = np.array(x.shape[:count])
    columns = np.moveaxis(np.where(index < 0, index + ends, index), -1, 0).reshape(count, -1)
    taken(builder, lines, f"{out}/taken", {0: np.ravel_multi_index(tuple(columns), tuple(ends))})
    reshaped(builder, builder.blob(f"{out}/taken"), out, (*index.shape[:-1], *x.shape[count:]))


def taken(builder: Builder, x: Blob, out: str, places: Mapping[int, range | np.ndarray]) -> None:
    """The entries of these axes at these places: what lies side by side as Slices, others by matrices."""
    bounds: dict[int, tuple[int, int]] = {}
    others: dict[int, np.ndarray] = {}
    for axis, index in places.items():
        if not len(index):
            raise Unsupported(f"nothing is left of axis {axis}")
        if index.step == 1 if isinstance(index, range) else (np.diff(index) == 1).all():
            bounds[axis] = (int(index[0]), int(index[-1]) + 1)
        else:
            others[axis] = chosen(x.shape[axis], index)
    cut(builder, x, f"{out}/cut" if others else out, bounds)
    if others:
        along(builder, builder.blob(f"{out}/cut"), out, others)


def cut(builder: Builder, x: Blob, out: str, bounds: dict[int, tuple[int, int]]) -> None:
    """x from start to before end along these axes, as Slice layers whose other tops nobody reads."""
    real = {axis: pair for axis, pair in bounds.items() if pair != (0, x.shape[axis])}
    if not real:
        builder.values[out] = x
    for count, (axis, (start, end)) in enumerate(real.items(), 1):
        last = x.shape[axis]
        points = [point for point in (start, end) if 0 < point < last]
        top = out if count == len(real) else f"{out}/axis_{axis}"
        tops = [top if a == start else f"{top}/unused_{a}" for a in (0, *points)]
        _slices(builder, x, tops, axis, points)
        x, unused = builder.blob(top), [name for name in tops if name != top]
        builder.net.layer.add(name=f"{top}/silence", type="Silence", bottom=unused)


def _slices(builder: Builder, x: Blob, tops: list[str], axis: int, points: list[int]) -> None:
    def fill(spec):
        spec.slice_param.axis = axis
        spec.slice_param.slice_point.extend(points)

    builder.layer("Slice", [x], tops, fill=fill)
