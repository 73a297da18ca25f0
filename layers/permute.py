"""Permute (SSD): reorders the axes; `order` lists the bottom's axes, those left out follow in their order."""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault


class Permute(Layer):
    type = "Permute"

    def infer(self, shapes):
        (shape,), order = shapes, list(self.spec.permute_param.order)
        if len(set(order)) != len(order) or any(axis >= len(shape) for axis in order):
            raise SchemaFault(
                f"permute_param.order {order}: give each axis of the bottom {shape} once at most, 0 to {len(shape) - 1}"
            )
        self.order = [*order, *(axis for axis in range(len(shape)) if axis not in order)]
        return [tuple(shape[axis] for axis in self.order)]

    def forward(self, xs):
        return [self.xp.ascontiguousarray(xs[0].transpose(self.order))]

    def backward(self, dys, need):
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        return [self.xp.ascontiguousarray(dys[0].transpose(back)) if need[0] else None]
