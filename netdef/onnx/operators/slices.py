"""Parts of values, as layers."""

from __future__ import annotations

from demitasse.netdef.onnx.builder import Blob, Builder, Node, Unsupported, operator
from demitasse.netdef.onnx.operators.constants import bounds_of


@operator("Slice")
def _slice(builder: Builder, node: Node, inputs: list) -> None:
    x, *words = inputs
    if any(isinstance(word, Blob) for word in words):
        raise Unsupported("bounds that are computed of values")
    starts, ends, axes, steps = bounds_of(node, words)
    if set(steps) != {1}:
        raise Unsupported("steps other than 1")
    bounds = [slice(int(a), int(b)).indices(x.shape[i])[:2] for a, b, i in zip(starts, ends, axes, strict=True)]
    cut(builder, x, node.outputs[0], {axis % len(x.shape): pair for axis, pair in zip(axes, bounds, strict=True)})


def cut(builder: Builder, x: Blob, out: str, bounds: dict[int, tuple[int, int]]) -> None:
    """x from start to before end along these axes, as Slice layers whose other tops nobody reads."""
    real = {axis: pair for axis, pair in bounds.items() if pair != (0, x.shape[axis])}
    if not real:
        builder.values[out] = x
    for count, (axis, (start, end)) in enumerate(real.items(), 1):
        last = x.shape[axis]
        if start >= end:
            raise Unsupported(f"nothing is left of axis {axis}")
        points = [point for point in (start, end) if 0 < point < last]
        top = out if count == len(real) else f"{out}/axis_{axis}"
        tops = [top if a == start else f"{top}/unused_{a}" for a in (0, *points)]
        _slices(builder, x, tops, axis, points)
        rest = builder.values[top]
        assert isinstance(rest, Blob)  # a layer's top, no constant
        x, unused = rest, [name for name in tops if name != top]
        builder.net.layer.add(name=f"{top}/silence", type="Silence", bottom=unused)


def _slices(builder: Builder, x: Blob, tops: list[str], axis: int, points: list[int]) -> None:
    def fill(spec):
        spec.slice_param.axis = axis
        spec.slice_param.slice_point.extend(points)

    builder.layer("Slice", [x], tops, fill=fill)
