"""Which sizes of a net may differ from run to run: the net itself is asked, by inferring its shapes anew.

Every axis of an input is lengthened: alone, or together with the other inputs' axes of the same size in the same place,
or with all in the same place, or with all of the same size.  What the layers accept is free, and what follows from it
is free too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from demitasse.layers.layer import Shape
from demitasse.netdef.graph import Value
from demitasse.netdef.onnx.part import Part
from demitasse.proto.errors import NetError

LONGER = 96  # by how much: a multiple of most nets' strides, so that what fits together still does
IMAGE = ("batch", "channels", "height", "width")
Free = tuple[int | None, ...]
Axis = tuple[str, int]


def free_sizes(part: Part) -> tuple[dict[Value, Free], dict[str, list]]:
    """(the shapes of all values, None where a size is free; those of the inputs with names for what is free)."""
    shapes = _inferred(part, {})
    names: dict[tuple[str, int], str] = {}
    for axis in _axes(part):
        everywhere = {other for other in _axes(part) if other[1] == axis[1]}
        equal = {other for other in _axes(part) if _size(part, other) == _size(part, axis)}
        alike = equal & everywhere
        for tried, meant in (({axis}, {axis}), (alike, alike), (everywhere, {axis}), (equal, equal)):
            if axis not in names and (other := _lengthened(part, tried)):
                shapes = _merged(shapes, other)
                names.update(dict.fromkeys(meant - set(names), _symbol(part, meant)))
    inputs = {
        name: [names.get((name, i), size) for i, size in enumerate(value.shape)] for name, value in part.inputs.items()
    }
    return shapes, inputs


def fixed_sizes(part: Part) -> tuple[dict[Value, Free], dict[str, list]]:
    """The same, with nothing free but what the data decide (Filter)."""
    shapes = _inferred(part, {})
    return shapes, {name: list(value.shape) for name, value in part.inputs.items()}


def _inferred(part: Part, inputs: Mapping[str, Shape]) -> dict[Value, Free]:
    """The shapes of all values for these of the inputs; None for sizes that the data decide."""
    shapes: dict[Value, Shape] = {}
    decided: dict[Value, int] = {}
    for step in part.steps:
        given = [shapes[value] for value in step.bottoms]
        if step.is_input:
            made: Iterable[Shape] = [inputs.get(value.name, value.shape) for value in step.tops]
        else:
            with step.located:
                made = step.layer.infer(given)
        shapes.update(zip(step.tops, (tuple(shape) for shape in made), strict=True))
        if step.layer.shapes_from_data or decided.keys() & set(step.bottoms):
            decided.update(dict.fromkeys(step.tops, step.layer.varying_axis))
    return {
        value: tuple(None if axis == decided.get(value) else size for axis, size in enumerate(shape))
        for value, shape in shapes.items()
    }


def _lengthened(part: Part, group: Iterable[Axis]) -> dict[Value, Free] | None:
    """The shapes with these axes lengthened; None where a layer refuses."""
    inputs = {name: list(value.shape) for name, value in part.inputs.items()}
    for name, axis in group:
        inputs[name][axis] += LONGER
    try:
        return _inferred(part, {name: tuple(shape) for name, shape in inputs.items()})
    except NetError:
        return None


def _merged(shapes: Mapping[Value, Free], others: Mapping[Value, Free]) -> dict[Value, Free]:
    return {
        value: tuple(a if a == b else None for a, b in zip(shape, others[value], strict=True))
        for value, shape in shapes.items()
    }


def _axes(part: Part) -> list[Axis]:
    """The axes of the inputs; where one is an image, without channels and the columns of tables beside it (im_info)."""
    shapes = {name: value.shape for name, value in part.inputs.items()}
    image = any(len(shape) >= len(IMAGE) for shape in shapes.values())
    return [(name, i) for name, shape in shapes.items() for i in range(len(shape)) if not (image and i == 1)]


def _size(part: Part, axis: Axis) -> int:
    return part.inputs[axis[0]].shape[axis[1]]


def _symbol(part: Part, group: set[Axis]) -> str:
    """batch, height, width of the first input or of several; others by their input's name and axis."""
    name, axis = min(group, key=_axes(part).index)
    common = name == next(iter(part.inputs)) or len(group) > 1
    if common and (axis == 0 or len(part.inputs[name].shape) == len(IMAGE)):
        return IMAGE[axis]
    return f"{name}_{axis}"
