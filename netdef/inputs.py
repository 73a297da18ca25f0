"""Inputs that are given from outside: their shapes, as plain inputs in the place of data layers, and their arrays."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping, Sequence

from demitasse.layers.backend.contract import Backend
from demitasse.layers.layer import Array, Shape
from demitasse.netdef.graph import Value, label_of
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
    """A device array of the shape of what a user gives for a blob, with which it may share the host's memory;
    GraphFault where that is no array of real numbers."""
    kind = getattr(getattr(array, "dtype", None), "kind", "f")
    if isinstance(array, str | bytes | os.PathLike) or kind not in "fiub":
        what = f"an array of {array.dtype}" if hasattr(array, "dtype") else "text"
        raise GraphFault(f"'{name}' is given {what}: an array of real numbers is expected")
    there = backend.asarray(array)
    if not backend.capabilities.host_memory and isinstance(array, backend.xp.ndarray):
        return there.copy()
    return there


class Inputs:
    """The arrays that a net's inputs hold."""

    def __init__(self, backend: Backend):
        self._backend = backend
        self._arrays: dict[Value, Array] = {}
        self._lent: set[Value] = set()  # those that lie where a recorded pass reads them, and that nobody else has

    def __iter__(self):
        """The inputs that hold something."""
        return iter(self._arrays)

    def array(self, value: Value) -> Array:
        """What the input holds, in its present shape: zeros where nobody has set it.  Whoever asks may keep it."""
        array = self._arrays.get(value)
        if array is None or array.shape != value.shape:
            array = self._arrays[value] = self._backend.zeros(value.shape)
        elif value in self._lent:
            array = self._arrays[value] = array.copy()
        self._lent.discard(value)
        return array

    def for_recording(self, value: Value) -> Array:
        """`array`, of the same shape, for whoever copies it, or finds it where it reads."""
        return self._arrays[value] if self._is_lent(value) else self.array(value)

    def put(self, value: Value, array: Array) -> None:
        """Let the input hold that array."""
        if array is not self._arrays.get(value):
            self._arrays[value] = array
            self._lent.discard(value)

    def copied(self, value: Value, array: Array, afresh: bool) -> Array:
        """A copy of an array, of its shape, for `put`; afresh: if it can be, where a recorded pass reads the input, so
        that what earlier passes have saved does not count any more."""
        if not self._backend.capabilities.host_memory:
            return array  # it shares no memory
        if not (afresh and self._is_lent(value) and array.shape == value.shape and array.ndim > 0):
            return array.copy()  # not from the pool, where it would lie in the way of what comes and goes
        place = self._arrays[value]
        place[...] = array
        return place

    def lend(self, value: Value, array: Array) -> None:
        """Let the input lie in `array`, which holds it, until somebody asks for it."""
        self._arrays[value] = array
        self._lent.add(value)

    def _is_lent(self, value):
        return value in self._lent and self._arrays[value].shape == value.shape
