"""Tile: `tiles` copies of the bottom, side by side along `axis`."""

from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.errors import SchemaFault


class Tile(Layer):
    type = "Tile"
    launches_only = True

    def setup(self, shapes):
        if self.spec.tile_param.tiles < 1:
            raise SchemaFault("tile_param needs tiles, the number of copies: 1 or more")
        return []

    def infer(self, shapes):
        (shape,), param = shapes, self.spec.tile_param
        axis = self._axis(shape)
        return [shape[:axis] + (shape[axis] * param.tiles,) + shape[axis + 1 :]]

    def forward(self, xs):
        return [self.xp.concatenate([xs[0]] * self.spec.tile_param.tiles, axis=self._axis(xs[0].shape))]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        shape, tiles = dys[0].shape, self.spec.tile_param.tiles
        axis = self._axis(shape)
        copies = dys[0].reshape(*shape[:axis], tiles, shape[axis] // tiles, *shape[axis + 1 :])
        return [copies.sum(axis)]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.spec.tile_param
        axis = param.axis % len(x.shape)
        return [graph.node("Tile", x, graph.vector([param.tiles if i == axis else 1 for i in range(len(x.shape))]))]

    def _axis(self, shape):
        return axis_index(self.spec.tile_param.axis, shape, "tile_param.axis")
