"""What each pixel of a blob sees of the net's input: stride, offset and receptive field.

The n-th pixel along an axis is centred on input coordinate  offset + stride * n  and depends on
`field` input pixels around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from demitasse.layers.layer import Layer
from demitasse.netdef.coords import IDENTITY, CoordMap
from demitasse.netdef.graph import Step, Value
from demitasse.proto.errors import GraphFault


@dataclass(frozen=True)
class ReceptiveField:
    """The map from input coordinates to the blob's, and how many input pixels one of its pixels depends on."""

    coords: CoordMap
    field: tuple[float, ...]

    @property
    def stride(self) -> tuple[float, ...]:
        """How many input pixels one step is, an axis each."""
        return tuple(1 / scale for scale in self.coords.scale)

    @property
    def offset(self) -> tuple[float, ...]:
        """Where the first pixel's middle lies in the input, in pixels, an axis each."""
        return self.coords.inverse().shift


INPUT = ReceptiveField(IDENTITY, (1.0,))


def receptive_fields(steps: Sequence[Step]) -> dict[Value, ReceptiveField]:
    """That of every value whose pixels lie in the image; tops of layers without bottoms are the image."""
    found: dict[Value, ReceptiveField] = {}
    for step in steps:
        made = _field_after(step, found)
        if made is not None:
            found.update((value, made) for value in step.tops if len(value.shape) > 2)
    return found


def _field_after(step: Step, found: dict[Value, ReceptiveField]) -> ReceptiveField | None:
    if not step.bottoms:
        return INPUT
    coords = step.layer.coords() or _unmoved(step)
    fields = [
        found[value]
        for i, value in enumerate(step.bottoms)
        if value in found and i not in step.cls.never_differentiable
    ]
    if coords is None or not fields:
        return None
    try:
        return ReceptiveField(CoordMap(*coords).after(fields[0].coords), _width(step.layer, fields))
    except GraphFault:  # axes that do not go together: no coordinates belong to the pixels any more
        return None


def _unmoved(step: Step) -> tuple | None:
    """Layers without a map that keep the image's size, such as Concat and Softmax, keep its coordinates too."""
    spatial = {value.shape[2:] for value in (*step.bottoms, *step.tops)}
    axes = {len(value.shape) for value in (*step.bottoms, *step.tops)}
    return (IDENTITY.axis, IDENTITY.scale, IDENTITY.shift) if len(spatial) == 1 == len(axes) else None


def _width(layer: Layer, fields: Sequence[ReceptiveField]) -> tuple[float, ...]:
    """The widest that any bottom brings, and the layer's window in steps of that bottom."""
    window = layer.window()
    axes = max(len(window), *(len(part) for one in fields for part in (one.field, one.stride)))
    return tuple(
        max(_axis(one.field, i) + (_axis(window, i) - 1) * _axis(one.stride, i) for one in fields) for i in range(axes)
    )


def _axis(values: tuple, i: int):
    return values[i if len(values) > 1 else 0]
