"""A value of an ONNX graph, with the arithmetic that makes further ones of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demitasse.layers.onnx.graph import Graph

FLOAT, INT, BOOL = "float32", "int64", "bool"


class Tensor:
    """A value of the graph.  shape: its sizes, None for one that a run brings; None as a whole where it isn't known."""

    def __init__(self, graph: Graph, name: str, shape: tuple[int | None, ...] | None = None, dtype: str = FLOAT):
        self.graph, self.name, self.shape, self.dtype = graph, name, shape, dtype
        self.kept = False  # whether the name is one that was reserved for it

    def combined(self, op: str, other: Any, swapped: bool = False, dtype: str | None = None) -> Tensor:
        """What an operator of two makes of this tensor and another or a number."""
        other = other if isinstance(other, Tensor) else self.graph.constant(other, self.dtype)
        pair = (other, self) if swapped else (self, other)
        return self.graph.node(op, *pair, shape=broadcast(self.shape, other.shape), dtype=dtype)

    def __add__(self, other):
        return self.combined("Add", other)

    def __sub__(self, other):
        return self.combined("Sub", other)

    def __rsub__(self, other):
        return self.combined("Sub", other, swapped=True)

    def __mul__(self, other):
        return self.combined("Mul", other)

    def __truediv__(self, other):
        return self.combined("Div", other)

    def __rtruediv__(self, other):
        return self.combined("Div", other, swapped=True)

    def __floordiv__(self, other):  # of integers that are not negative: ONNX's Div rounds to zero
        return self.combined("Div", other)

    def __mod__(self, other):
        return self.combined("Mod", other)

    def __pow__(self, other):
        return self.combined("Pow", other)

    def __neg__(self):
        return self.graph.node("Neg", self, shape=self.shape)

    def __gt__(self, other):
        return self.combined("Greater", other, dtype=BOOL)

    def __ge__(self, other):
        return self.combined("GreaterOrEqual", other, dtype=BOOL)

    def __lt__(self, other):
        return self.combined("Less", other, dtype=BOOL)

    def __le__(self, other):
        return self.combined("LessOrEqual", other, dtype=BOOL)

    def __and__(self, other):
        return self.combined("And", other)

    def equals(self, other) -> Tensor:
        """Whether the entries are equal; `==` tells tensors apart."""
        return self.combined("Equal", other, dtype=BOOL)

    __radd__, __rmul__ = __add__, __mul__


def broadcast(a, b):
    """The shape of what elementwise arithmetic makes of these two; None where one isn't known."""
    if a is None or b is None:
        return None
    rank = max(len(a), len(b))
    a, b = ((1,) * (rank - len(shape)) + tuple(shape) for shape in (a, b))
    return tuple(n if m == 1 else m if n == 1 or n == m else None for m, n in zip(a, b, strict=True))
