"""Reading the values of a net by blob name, and adding up gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from demitasse.layers.layer import Array
from demitasse.netdef.graph import Value
from demitasse.proto.errors import GraphFault, did_you_mean


class BlobFault(GraphFault, KeyError):
    """There is no such blob, or it holds nothing now."""


class Blobs(Mapping):
    """{blob name: array} of what a net holds at this moment; BlobFault says why a blob cannot be read.

    values: the values of each name, the preferred one first.  array_of: the array of a value, or None.
    nothing: what is wrong, and the remedy, where none of them has one.
    """

    def __init__(self, values: Mapping[str, Sequence[Value]], array_of: Callable[[Value], Array | None], nothing: str):
        self._values, self._array_of, self._nothing = values, array_of, nothing

    def __getitem__(self, name: str) -> Array:
        if name not in self._values:
            raise BlobFault(f"the net has no blob '{name}'{did_you_mean(name, self._values)}")
        array = self._find(name)
        if array is None:
            raise BlobFault(f"blob '{name}' {self._nothing}")
        return array

    def __contains__(self, name) -> bool:
        return name in self._values and self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._values if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _find(self, name: str) -> Array | None:
        arrays = map(self._array_of, self._values[name])
        return next((array for array in arrays if array is not None), None)


class Gradients:
    """The gradient of each value: the sum of what its readers have sent so far.

    A single contribution is kept as it is and never written to, since it may be an array that somebody
    else holds too; a second one makes a sum of our own, to which others are added in place.
    """

    def __init__(self, backend):
        self._backend = backend
        self._sums: dict[Value, Array] = {}
        self._ours: set[Value] = set()

    def add(self, value: Value, gradient: Array) -> None:
        """Add a gradient, of the value's shape, to its own; the first one is taken as it is."""
        if value not in self._sums:
            self._sums[value] = gradient
            return
        xp, nchw = self._backend.xp, self._backend.to_nchw
        if value in self._ours:
            xp.add(self._sums[value], nchw(gradient), out=self._sums[value])
        else:
            both = nchw(self._sums[value]), nchw(gradient)
            total = self._backend.weighted_sum(both, (1, 1))
            self._sums[value] = total if total.ndim else xp.asarray(total)
            self._ours.add(value)

    def put(self, value: Value, gradient: Array) -> None:
        """Begin the sum with this, whatever it was."""
        self._ours.discard(value)
        self._sums[value] = gradient

    def waiting(self) -> list[Value]:
        """The values for which something has been sent."""
        return list(self._sums)

    def take(self, value: Value) -> Array | None:
        """The sum, of the value's shape, which is then forgotten here; None where nothing has been sent."""
        self._ours.discard(value)
        return self._sums.pop(value, None)

    def get(self, value: Value) -> Array | None:
        """A value's gradient so far, of its shape, or None."""
        return self._sums.get(value)

    def clear(self) -> None:
        """Forget all gradients."""
        self._sums.clear()
        self._ours.clear()

    def __bool__(self) -> bool:
        return bool(self._sums)
