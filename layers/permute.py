"""Permute (SSD): reorders the axes; `order` lists the bottom's axes, those left out follow in their order."""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault


class Permute(Layer):
    type = "Permute"
    launches_only = takes_nhwc = True

    def infer(self, shapes):
        (shape,), order = shapes, list(self.spec.permute_param.order)
        if len(set(order)) != len(order) or any(axis >= len(shape) for axis in order):
            raise SchemaFault(
                f"permute_param.order {order}: give each axis of the bottom {shape} once at most, 0 to {len(shape) - 1}"
            )
        return [tuple(shape[axis] for axis in self._order(len(shape)))]

    def forward(self, xs):
        return [self.be.permute(xs[0], self._order(xs[0].ndim))]

    def backward(self, dys, need):
        order = self._order(dys[0].ndim)
        back = sorted(range(len(order)), key=order.__getitem__)
        return [self.be.permute(dys[0], back) if need[0] else None]

    def to_onnx(self, graph, xs):
        order = list(self.spec.permute_param.order)
        return [graph.transpose(xs[0], [*order, *(axis for axis in range(len(xs[0].shape)) if axis not in order)])]

    def _order(self, axes):
        """Where each of so many axes of the top comes from."""
        order = list(self.spec.permute_param.order)
        return [*order, *(axis for axis in range(axes) if axis not in order)]
