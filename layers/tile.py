"""Tile: `tiles` copies of the bottom, side by side along `axis`."""

from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.errors import SchemaFault


class Tile(Layer):
    type = "Tile"

    def setup(self, shapes):
        if self.spec.tile_param.tiles < 1:
            raise SchemaFault("tile_param needs tiles, the number of copies: 1 or more")
        return []

    def infer(self, shapes):
        (shape,), param = shapes, self.spec.tile_param
        self.axis = axis_index(param.axis, shape, "tile_param.axis")
        return [shape[: self.axis] + (shape[self.axis] * param.tiles,) + shape[self.axis + 1 :]]

    def forward(self, xs):
        return [self.xp.concatenate([xs[0]] * self.spec.tile_param.tiles, axis=self.axis)]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        shape, tiles = dys[0].shape, self.spec.tile_param.tiles
        copies = dys[0].reshape(*shape[: self.axis], tiles, shape[self.axis] // tiles, *shape[self.axis + 1 :])
        return [copies.sum(self.axis)]
