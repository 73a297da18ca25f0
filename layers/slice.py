"""Slice: the bottom cut along `axis` (1: channels) at each slice_point, or into equal parts."""

from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault


class Slice(Layer):
    type = "Slice"
    launches_only = True
    keeps_pixels = True
    tops = (1, None)

    def setup(self, shapes):
        param = self.spec.slice_param
        if (
            param.HasField("axis") and param.HasField("slice_dim") and param.axis != param.slice_dim
        ):  # MyCaffe writes both
            raise SchemaFault("axis and slice_dim are both given: write axis only, slice_dim is its old name")
        self.axis = axis_index(param.slice_dim if param.HasField("slice_dim") else param.axis, shapes[0])
        points = list(param.slice_point)
        if points and len(points) != len(self.spec.top) - 1:
            raise SchemaFault(
                f"{len(points)} slice_points for {len(self.spec.top)} tops: "
                f"give {len(self.spec.top) - 1}, or none for equal parts"
            )
        return []

    def infer(self, shapes):
        (shape,), axis = shapes, self.axis
        edges = self._edges(shape[axis])
        return [(*shape[:axis], end - start, *shape[axis + 1 :]) for start, end in edges]

    def forward(self, xs):
        (x,) = xs
        edges = self._edges(x.shape[self.axis])
        if self.keep:
            self.saved = x.shape
        before = (slice(None),) * self.axis
        return [x[(*before, slice(start, end))].copy() for start, end in edges]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        dtype = next(dy.dtype for dy in dys if dy is not None)
        parts = [
            self.be.zeros(shape, dtype) if dy is None else dy
            for dy, shape in zip(dys, self.infer([self.saved]), strict=True)
        ]
        return [self.xp.concatenate(parts, axis=self.axis)]

    def to_onnx(self, graph, xs):
        (x,), tops, points = xs, len(self.spec.top), list(self.spec.slice_param.slice_point)
        size = graph.size(x, self.axis)
        edges = [0, *(points or (size // tops * i for i in range(1, tops))), size]
        if tops == 1:
            return [x]
        parts = graph.vector([end - start for start, end in zip(edges, edges[1:], strict=False)])
        return graph.node("Split", x, parts, axis=self.axis, outputs=tops)

    def coords(self):
        return (2, (1.0,), (0.0,)) if self.axis < 2 else None  # as of Concat

    def _edges(self, size):
        """(start, end) of each top along the axis."""
        tops, points = len(self.spec.top), list(self.spec.slice_param.slice_point)
        if not points and size % tops:
            raise ShapeFault(
                f"axis {self.axis} has size {size}, which {tops} tops cannot share equally: give slice_points"
            )
        edges = [0, *(points or range(size // tops, size, size // tops)), size]
        if any(end <= start for start, end in zip(edges, edges[1:], strict=False)):
            raise ShapeFault(f"slice_points {points} must rise within the size {size} of axis {self.axis}")
        return list(zip(edges, edges[1:], strict=False))
