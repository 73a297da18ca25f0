"""Where a pixel of one top of a NetSpec lies in another, and the Crop that aligns them.

netdef/coords.py under pycaffe's names and numbers: a map is (axis, scale, shift), its axis one less than the first
spatial one, scale and shift arrays with one number for all axes or one for each; with axis None (any) they are
numbers.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.layer import layer_class
from demitasse.netdef import coords
from demitasse.netdef.coords import CoordMap, above_top
from demitasse.netdef.spec import Function, L, Top
from demitasse.proto.errors import GraphFault

__all__ = [
    "AxisMismatchException",
    "UndefinedMapException",
    "compose",
    "coord_map",
    "coord_map_from_to",
    "crop",
    "inverse",
]


class UndefinedMapException(GraphFault):
    """The layer keeps no coordinates."""


class AxisMismatchException(GraphFault):
    """Two maps are on different axes."""


class UnconnectedFault(GraphFault, RuntimeError):
    """Two tops have no common ancestor by way of coordinates."""


class CropFault(GraphFault, AssertionError):
    """No crop aligns the two tops."""


def coord_map(fn: Function):
    """(axis, scale, shift) of one layer: top coordinate = scale * bottom coordinate + shift."""
    maps = above_top(fn.tops[0])
    if not maps or layer_class(fn.type_name).keeps_pixels:
        raise UndefinedMapException(f"{fn.type_name} has no coordinate map")
    return _plain(maps[0][1])


def compose(base_map, next_map):
    """The map that applies next_map, then base_map."""
    (base_axis, base_scale, base_shift), (axis, scale, shift) = base_map, next_map
    if None not in (base_axis, axis) and base_axis != axis:
        raise AxisMismatchException(f"a map on axis {axis} and one on axis {base_axis} cannot follow each other")
    return axis if base_axis is None else base_axis, base_scale * scale, base_scale * shift + base_shift


def inverse(mapping):
    """The map the other way."""
    axis, scale, shift = mapping
    return axis, 1 / scale, -shift / scale


def coord_map_from_to(top_from: Top, top_to: Top):
    """The map from coordinates of one top to those of another; RuntimeError where nothing connects them."""
    return _plain(_between(top_from, top_to))


def crop(top_from: Top, top_to: Top) -> Top:
    """The Crop layer that cuts top_from to the size and place of top_to; AssertionError where none can."""
    between = _between(top_from, top_to)
    try:
        axis, offset = coords.crop_offset(between)
    except GraphFault as fault:
        raise CropFault(fault.what) from None
    return L.Crop(top_from, top_to, crop_param=dict(axis=axis, offset=offset))


def _between(top_from: Top, top_to: Top) -> CoordMap:
    try:
        return coords.coord_map_from_to(top_from, top_to)
    except GraphFault as fault:
        raise UnconnectedFault(fault.what) from None


def _plain(mapping: CoordMap):
    axis = None if mapping.axis is None else mapping.axis - 1
    if axis is None:
        return axis, mapping.scale[0], mapping.shift[0]
    count = max(len(values) for values in (mapping.scale, mapping.shift))
    scale, shift = (
        np.array(values if len(values) == count else values[:1] * count) for values in (mapping.scale, mapping.shift)
    )
    return (axis, scale, shift) if np.ptp(scale) or np.ptp(shift) else (axis, scale[:1], shift[:1])
