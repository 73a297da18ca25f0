"""Inputs that are given from outside: their shapes, as plain inputs in the place of data layers, and their arrays."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping, Sequence

from demitasse.layers.backend.contract import Backend
from demitasse.layers.layer import Array, Shape
from demitasse.netdef.graph import label_of
from demitasse.netdef.wording import count_text
from demitasse.proto.errors import GraphFault, SchemaFault, Where, did_you_mean, located
from demitasse.proto.messages import BlobShape, LayerParameter


def declare_inputs(specs: Sequence[LayerParameter], wheres: Sequence[Where], shapes: Mapping[str, Shape]) -> None:
    """Change the specs so that every top named in `shapes` is that of an Input layer of that shape.

    A data layer is replaced whole, so all of its tops must be given.  GraphFault for a name that is no input.
    """
    sources = {top: spec for spec in specs if not spec.bottom for top in spec.top}
    for name, shape in shapes.items():
        if name not in sources:
            raise GraphFault(
                f"there is no input '{name}'{did_you_mean(name, sources)}: "
                f"the net's inputs are {', '.join(sorted(sources)) or 'none'}"
            )
        if not isinstance(shape, Sequence) or not all(
            isinstance(size, numbers.Integral) and size > 0 for size in shape
        ):
            raise SchemaFault(f"the shape of input '{name}' is a list of positive whole numbers, not {shape!r}")
    for spec, where in zip(specs, wheres, strict=True):
        if not spec.bottom and any(top in shapes for top in spec.top):
            with located(where, label_of(spec)):
                _declare(spec, shapes)


def _declare(spec: LayerParameter, shapes: Mapping[str, Shape]) -> None:
    declared = dict(zip(spec.top, _input_shapes(spec), strict=False))
    declared.update((top, shapes[top]) for top in spec.top if top in shapes)
    missing = [top for top in spec.top if top not in declared]
    if missing:
        raise GraphFault(
            f"is replaced by inputs, but makes {count_text(len(spec.top), 'top')}: "
            f"give the shape of {' and '.join(repr(top) for top in missing)} too"
        )
    spec.CopyFrom(as_input(spec, [declared[top] for top in spec.top]))


def as_input(spec: LayerParameter, shapes: Sequence[Sequence[int]]) -> LayerParameter:
    """An Input layer of the same name and tops, which have these shapes."""
    new = LayerParameter(name=spec.name, type="Input", top=spec.top)
    new.input_param.shape.extend(BlobShape(dim=shape) for shape in shapes)
    return new


def _input_shapes(spec: LayerParameter) -> list[list[int]]:
    """The shapes an Input layer declares, one for each top; nothing for other layers."""
    shapes = [list(shape.dim) for shape in spec.input_param.shape]
    return shapes * len(spec.top) if len(shapes) == 1 else shapes


def input_array(backend: Backend, name: str, array: Array) -> Array:
    """A device array of its own, of the shape of what a user gives for a blob; GraphFault where that is no array of
    real numbers."""
    kind = getattr(getattr(array, "dtype", None), "kind", "f")
    if isinstance(array, str | bytes | os.PathLike) or kind not in "fiub":
        what = f"an array of {array.dtype}" if hasattr(array, "dtype") else "text"
        raise GraphFault(f"'{name}' is given {what}: an array of real numbers is expected")
    there = backend.asarray(array)
    if not (backend.capabilities.host_memory or isinstance(array, backend.xp.ndarray)):
        return there  # of a host array a device has a copy
    return backend.xp.array(there, order="C", copy=True)
