"""Where a pixel of one blob lies in another: coordinate maps, and the Crop offset that aligns two blobs.

Each spatial layer has a map  top coordinate = scale * bottom coordinate + shift,  which it tells itself
(`Layer.coords`).  Maps along a path compose; two blobs with a common ancestor are related by going up
from one and down to the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from operator import add, mul

from demitasse.layers.layer import SAME_COORDS, TEST, Layer, layer_class
from demitasse.netdef.graph import Value
from demitasse.netdef.spec import Function, L, Top
from demitasse.netdef.wording import shape_text
from demitasse.proto.errors import GraphFault

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class CoordMap:
    """x -> scale * x + shift on the axes from `axis` on (None: any); one number for all axes, or one for each."""

    axis: int | None
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def after(self, first: CoordMap) -> CoordMap:
        """The map that applies `first`, then this one.  GraphFault where their axes do not meet."""
        if None not in (self.axis, first.axis) and self.axis != first.axis:
            raise GraphFault(f"coordinates from axis {first.axis} on are not those from axis {self.axis} on")
        axis = first.axis if self.axis is None else self.axis
        shift = _each(add, _each(mul, self.scale, first.shift), self.shift)
        return CoordMap(axis, _each(mul, self.scale, first.scale), shift)

    def inverse(self) -> CoordMap:
        """The map the other way; shares the axis."""
        return CoordMap(self.axis, tuple(1 / a for a in self.scale), _each(lambda b, a: -b / a, self.shift, self.scale))


IDENTITY = CoordMap(*SAME_COORDS)


def map_between(start: Hashable, goal: Hashable, above: Callable) -> CoordMap:
    """The map from coordinates of `start` to those of `goal`, by way of a blob that both come from.

    above(blob) -> [(bottom, map from the bottom to the blob)], nothing where coordinates get lost.
    GraphFault where there is none.
    """
    from_maps = dict(_climb(start, above))
    for blob, to_goal in _climb(goal, above):
        if blob in from_maps:
            return to_goal.after(from_maps[blob].inverse())
    raise GraphFault(
        "the two blobs have no common ancestor by way of spatial layers, "
        "so there is no telling where one lies in the other"
    )


def _climb(blob: Hashable, above: Callable):
    """Every blob that this one comes from, nearest first, with the map from there to here."""
    maps, queue = {blob: IDENTITY}, deque([blob])
    while queue:
        here = queue.popleft()
        yield here, maps[here]
        for bottom, step in above(here):
            if bottom not in maps:
                maps[bottom] = maps[here].after(step)
                queue.append(bottom)


def crop_offset(between: CoordMap) -> tuple[int, list[int]]:
    """(axis, offsets) of the Crop that cuts the map's first blob to lie exactly under its second.

    One offset where it is the same for all axes.  GraphFault where no crop can do that.
    """
    if any(abs(a - 1) > _TOLERANCE for a in between.scale):
        raise GraphFault(f"scale mismatch on crop: one pixel of it is {_numbers(between.scale)} of the reference")
    offsets = [-b for b in between.shift]
    if any(offset < -_TOLERANCE for offset in offsets):
        raise GraphFault(
            f"cannot crop with the negative offset {_numbers(offsets)}: the reference begins outside "
            "(more pad, or larger kernels, would help)"
        )
    if any(abs(offset - round(offset)) > _TOLERANCE for offset in offsets):
        raise GraphFault(f"cannot crop with the offset {_numbers(offsets)}, which is not a whole number")
    whole = [round(offset) for offset in offsets]
    return (2 if between.axis is None else between.axis), whole[:1] if len(set(whole)) == 1 else whole


# -- in a plan ---------------------------------------------------------------------------------------


def above_value(value: Value) -> list[tuple[Value, CoordMap]]:
    """The values that this one comes from by a coordinate map (sizes that a Crop only looks at are none)."""
    step = value.producer
    return _mapped(step.layer, step.bottoms)


# -- in a NetSpec ------------------------------------------------------------------------------------


def above_top(top: Top) -> list[tuple[Top, CoordMap]]:
    """As above_value, for tops of a NetSpec, whose sizes nobody knows yet."""
    return _mapped(_stand_in(top.fn), top.fn.inputs) if top.fn.inputs else []


def coord_map_from_to(top_from: Top, top_to: Top) -> CoordMap:
    """The map from coordinates of one top of a NetSpec to those of another."""
    return map_between(top_from, top_to, above_top)


def crop(top_from: Top, top_to: Top) -> Top:
    """A Crop layer that cuts `top_from` to the size and place of `top_to`."""
    axis, offset = crop_offset(coord_map_from_to(top_from, top_to))
    return L.Crop(top_from, top_to, crop_param=dict(axis=axis, offset=offset))


def _stand_in(fn: Function) -> Layer:
    """The layer set up for made-up bottom shapes: its map depends on its fields alone."""
    spec = fn.message()
    conv, axes = spec.convolution_param, 2
    if len(conv.kernel_size) > 1:
        axes = len(conv.kernel_size)
    layer = layer_class(fn.type_name)(spec, TEST)
    shape = (1,) * conv.axis + (conv.group,) + (1 << 12,) * axes
    layer.params = layer.setup([shape] * len(fn.inputs))
    return layer


# -- both --------------------------------------------------------------------------------------------


def _mapped(layer: Layer, bottoms) -> list:
    coords = layer.coords() if bottoms else None
    if coords is None:
        return []
    step = CoordMap(*coords)
    return [(bottom, step) for i, bottom in enumerate(bottoms) if i not in layer.never_differentiable]


def _each(function, left: tuple, right: tuple) -> tuple[float, ...]:
    """Number by number; one number, or one and the same for each axis, stands for as many as the other has.

    A layer of a NetSpec with one kernel_size for all axes is sized for two: it maps three in the same way.
    """
    length = max(len(left), len(right))
    left, right = (side[:1] if len(side) != length and len(set(side)) == 1 else side for side in (left, right))
    if {len(left), len(right)} - {1, length}:
        raise GraphFault(f"coordinate maps for {len(left)} and {len(right)} axes cannot follow each other")
    left, right = (side * length if len(side) == 1 else side for side in (left, right))
    return tuple(map(function, left, right))


def _numbers(values) -> str:
    return shape_text(f"{value:g}" for value in values)
