"""The builder of ONNX graphs: what a layer's `to_onnx` computes with, as `forward` does with arrays.

    def to_onnx(self, graph, xs):
        scale = 1 + alpha * graph.node("AveragePool", xs[0] * xs[0], ...)
        return [xs[0] / scale**beta]

Sizes are ints where they are the same in every run and tensors, shape (1,), where a run brings them; arithmetic on
either reads alike, so that the same line writes a constant or a computation on Shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from demitasse.layers.onnx.tensor import FLOAT, INT, Tensor, broadcast
from demitasse.proto.onnx_file import Model, Node

Sizes = Sequence["int | Tensor"]


class Graph:
    """Nodes and constant arrays in the making.

    reserved: names that the caller gives to values himself (`name`), so that no other value takes one.
    params: of the layer that is being translated (`begin_layer`), as host arrays.
    """

    def __init__(self, reserved: Iterable[str] = ()):
        self.nodes: list[Node] = []  # of Tensors; None stands for an input that is left out
        self.arrays: dict[str, np.ndarray] = {}
        self._taken = set(reserved)
        self._constants: dict[tuple, Tensor] = {}
        self._sizes: dict[tuple[Tensor, int], Tensor] = {}
        self._shapes: dict[Tensor, Tensor] = {}
        self.layer, self.params = "", []
        self.param_names: dict[tuple[str, int], str] = {}  # (layer, index): the array that holds it
        self.stand_ins: dict[tuple[str, int], list[float]] = {}

    # -- nodes and constants -----------------------------------------------------------------------

    def begin_layer(self, name: str, params: Sequence[np.ndarray]) -> None:
        """The layer that nodes and learned arrays belong to from here on."""
        self.layer, self.params = name, list(params)

    def node(self, op: str, *inputs: Tensor | None, outputs: int = 1, shape=None, dtype=None, **attrs) -> Any:
        """The output of a new operator, or a list of them; dtype: the first input's unless given."""
        dtype = dtype or next((x.dtype for x in inputs if x is not None), FLOAT)
        made = [Tensor(self, self.unused(f"{self.layer}/{op}"), shape, dtype) for _ in range(outputs)]
        self.nodes.append(Node(op, list(inputs), made, attrs, made[0].name))
        return made[0] if outputs == 1 else made

    def constant(self, value, dtype: str = FLOAT) -> Tensor:
        """A constant array of numbers, one for all places where it is needed."""
        array = np.asarray(value, dtype)
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._stored("const", array)
        return self._constants[key]

    def param(self, index: int, shape: Sequence[int] | None = None, values: np.ndarray | None = None) -> Tensor:
        """A learned array of the layer, in another shape or with other values where they are given."""
        array = self.params[index] if values is None else np.asarray(values, FLOAT)
        tensor = self._stored(f"{self.layer}.{index}", array if shape is None else array.reshape(tuple(shape)))
        self.param_names[self.layer, index] = tensor.name
        return tensor

    def stand_in(self, index: int, values: Sequence[float]) -> None:
        """Say what a learned array is to hold after export and import, where the graph has no use for it."""
        self.stand_ins[self.layer, index] = [float(value) for value in values]

    def _stored(self, name: str, array: np.ndarray) -> Tensor:
        tensor = Tensor(self, self.unused(name), array.shape, str(array.dtype))
        self.arrays[tensor.name] = array
        return tensor

    def unused(self, name: str) -> str:
        """This name, or one like it that no value has."""
        candidate, count = name, 1
        while candidate in self._taken:
            candidate, count = f"{name}_{count}", count + 1
        self._taken.add(candidate)
        return candidate

    # -- sizes -------------------------------------------------------------------------------------

    def size(self, x: Tensor, axis: int) -> int | Tensor:
        """How long an axis is: an int, or a tensor of shape (1,) where it is known in the run only."""
        if x.shape is not None:
            axis %= len(x.shape)
            if x.shape[axis] is not None:
                return x.shape[axis]
        key = x, axis
        if key not in self._sizes:
            if x not in self._shapes:
                self._shapes[x] = self.node("Shape", x, dtype=INT)
            self._sizes[key] = self.gather(self._shapes[x], self.constant([axis], INT), 0, (1,))
        return self._sizes[key]

    def sizes(self, x: Tensor) -> list[int | Tensor]:
        """The sizes of all axes of a tensor of known rank."""
        return [self.size(x, axis) for axis in range(len(x.shape))]

    def vector(self, sizes: Sizes) -> Tensor:
        """Sizes as one tensor, shape (number of sizes,)."""
        if not any(isinstance(size, Tensor) for size in sizes):
            return self.constant([int(size) for size in sizes], INT)
        parts, run = [], []
        for size in sizes:
            if isinstance(size, Tensor):
                parts += [self.constant(run, INT)] * bool(run) + [size]
                run = []
            else:
                run.append(int(size))
        parts += [self.constant(run, INT)] * bool(run)
        return self.node("Concat", *parts, axis=0, dtype=INT) if len(parts) > 1 else parts[0]

    def smaller(self, a: int | Tensor, b: int | Tensor) -> int | Tensor:
        """The smaller of two sizes."""
        return self._extreme("Min", min, a, b)

    def larger(self, a: int | Tensor, b: int | Tensor) -> int | Tensor:
        """The larger of two sizes."""
        return self._extreme("Max", max, a, b)

    def _extreme(self, op: str, of_ints: Callable, a: Any, b: Any) -> Any:
        if isinstance(a, Tensor):
            return a.combined(op, b)
        return b.combined(op, a) if isinstance(b, Tensor) else of_ints(a, b)

    def as_float(self, size: int | Tensor) -> float | Tensor:
        """A size as a number to compute with."""
        return self.cast(size, FLOAT) if isinstance(size, Tensor) else float(size)

    # -- operators whose arguments want arranging --------------------------------------------------

    def reshape(self, x: Tensor, sizes: Sizes, shape=None) -> Tensor:
        """x in other sizes; one of them may be -1."""
        if shape is None:
            shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in sizes)
        return self.node("Reshape", x, self.vector(sizes), shape=shape)

    def slice(self, x: Tensor, starts: Sizes, ends: Sizes, axes: Sequence[int]) -> Tensor:
        """x from start to before end, along each of these axes."""
        shape = None
        if x.shape is not None:
            shape = list(x.shape)
            for start, end, axis in zip(starts, ends, axes, strict=True):
                fixed = isinstance(start, int) and isinstance(end, int) and 0 <= start <= end
                inside = fixed and shape[axis] is not None and end <= shape[axis]
                shape[axis] = end - start if inside else None
            shape = tuple(shape)
        return self.node("Slice", x, self.vector(starts), self.vector(ends), self.constant(axes, INT), shape=shape)

    def reversed(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """x with these axes in the opposite order."""
        ends = ([number] * len(axes) for number in (-1, -(2**31)))
        words = (self.constant(numbers, INT) for numbers in (*ends, list(axes), [-1] * len(axes)))
        return self.node("Slice", x, *words, shape=x.shape)

    def pad(self, x: Tensor, before: Sizes, after: Sizes, value: float = 0.0) -> Tensor:
        """x with `before` and `after` cells of `value` around each of its axes."""
        return self.node("Pad", x, self.vector([*before, *after]), self.constant(value, x.dtype), mode="constant")

    def concat(self, xs: Sequence[Tensor], axis: int) -> Tensor:
        """xs one after the other along an axis."""
        return self.node("Concat", *xs, axis=axis) if len(xs) > 1 else xs[0]

    def transpose(self, x: Tensor, order: Sequence[int]) -> Tensor:
        """x with its axes in this order."""
        shape = None if x.shape is None else tuple(x.shape[axis] for axis in order)
        return self.node("Transpose", x, perm=list(order), shape=shape)

    def sum(self, x: Tensor, axes: Sequence[int], keep: bool = True) -> Tensor:
        """The sum over these axes."""
        shape = None
        if x.shape is not None and keep:
            shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        return self.node("ReduceSum", x, self.constant(list(axes), INT), keepdims=int(keep), shape=shape)

    def mean(self, x: Tensor, axes: Sequence[int], keep: bool = True) -> Tensor:
        """The mean over these axes."""
        return self.node("ReduceMean", x, axes=list(axes), keepdims=int(keep))

    def maximum(self, x: Tensor, axes: Sequence[int], keep: bool = True) -> Tensor:
        """The largest entry over these axes."""
        return self.node("ReduceMax", x, axes=list(axes), keepdims=int(keep))

    def clip(self, x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
        """x held between low and high, where they are given."""
        low, high = (None if end is None else self.constant(end, x.dtype) for end in (low, high))
        return self.node("Clip", x, low, *[high] * (high is not None), shape=x.shape)

    def gather(self, x: Tensor, index: Tensor, axis: int, shape=None) -> Tensor:
        """The entries of an axis that index names."""
        return self.node("Gather", x, index, axis=axis, shape=shape)

    def where(self, condition: Tensor, yes, no) -> Tensor:
        """`yes` where the condition holds, else `no`."""
        dtype = next((side.dtype for side in (yes, no) if isinstance(side, Tensor)), FLOAT)
        yes, no = (side if isinstance(side, Tensor) else self.constant(side, dtype) for side in (yes, no))
        shape = broadcast(condition.shape, broadcast(yes.shape, no.shape))
        return self.node("Where", condition, yes, no, dtype=dtype, shape=shape)

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """x as another type of numbers."""
        return x if x.dtype == dtype else self.node("Cast", x, to=dtype, dtype=dtype, shape=x.shape)

    def arange(self, size: int | Tensor) -> Tensor:
        """0, 1, ... size - 1, as integers."""
        if not isinstance(size, Tensor):
            return self.constant(np.arange(size), INT)
        count = self.reshape(size, [], shape=())
        return self.node("Range", self.constant(0, INT), count, self.constant(1, INT), dtype=INT, shape=(None,))

    def chosen(self, x: Tensor, mask: Tensor, axis: int = 0) -> Tensor:
        """The entries of an axis where mask, of one axis, is true.  (OpenCV 5 and TensorRT have no Compress.)"""
        places = self.reshape(self.node("NonZero", mask, dtype=INT), [-1])
        return self.gather(x, places, axis)

    def filled(self, sizes: Sizes, value: float = 0.0, dtype: str = FLOAT) -> Tensor:
        """A tensor of these sizes that holds `value` everywhere."""
        return self.node("ConstantOfShape", self.vector(sizes), value=np.array([value], dtype), dtype=dtype)

    def resize(self, x: Tensor, sizes: Sizes, mode: str, coordinates: str) -> Tensor:
        """x in other sizes; mode and coordinates as in Resize."""
        attrs = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": "floor"}
        return self.node("Resize", x, None, None, self.vector(sizes), **attrs)

    def scalar(self, size: int | float | Tensor) -> Tensor:
        """A size or another number as a float of shape ()."""
        if isinstance(size, Tensor):
            return self.reshape(self.cast(size, FLOAT), [], shape=())
        return self.constant(float(size))

    def body(self, widths: Sequence[int]) -> tuple[Graph, list[Tensor]]:
        """A graph for `scan` and its inputs, each (N, one of the widths); it may use what this graph has made."""
        body = Graph()
        body.arrays, body._constants, body._taken = self.arrays, self._constants, self._taken
        body.layer = self.layer
        body.given = [Tensor(body, self.unused(f"{self.layer}/in"), (None, width)) for width in widths]
        return body, body.given

    def scan(self, body: Graph, outputs: Sequence[Tensor], xs: Sequence[Tensor], scanned: int) -> list[Tensor]:
        """`body` run for each row of the last `scanned` xs, handing on its states, whose first are the other xs:
        the last states and, of outputs beyond the states, all rows together."""
        about = [{y.name: (FLOAT, [None, None]) for y in ys} for ys in (body.given, outputs)]
        model = Model(body.finished_nodes(), {}, *about, name=f"{self.layer}/step")
        return self.node("Scan", *xs, outputs=len(outputs), body=model, num_scan_inputs=scanned)

    # -- the whole ---------------------------------------------------------------------------------

    def name(self, x: Tensor, name: str, shape: tuple[int | None, ...]) -> Tensor:
        """x under a name that was reserved for it, as of this shape; a copy where x has such a name or is constant."""
        if x.kept or x.name in self.arrays:
            x = self.node("Identity", x)
        x.name, x.kept, x.shape = name, True, shape
        return x

    def input(self, name: str, shape: tuple[int | None, ...], dtype: str = FLOAT) -> Tensor:
        """What a run is given under this name."""
        x = Tensor(self, name, shape, dtype)
        x.kept = True
        return x

    def finished_nodes(self) -> list[Node]:
        """The nodes, with names in the place of tensors."""
        return [
            Node(
                node.op,
                ["" if x is None else x.name for x in node.inputs],
                [y.name for y in node.outputs],
                node.attrs,
                node.name,
            )
            for node in self.nodes
        ]
