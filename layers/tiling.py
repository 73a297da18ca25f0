"""Tiling: channels become pixels, tile_dim x tile_dim of them, so that a coarse map becomes a finer one.

Bottom (N, C, H, W), top (N, C / t^2, t H, t W) with t = tile_dim: pixel (t i + a, t j + b) of channel c is pixel (i, j)
of the bottom's channel c t^2 + a t + b.

Source: "An Empirical Evaluation of Deep Learning on Highway Driving" (Huval et al., 2015), 3; VPGNet's nets.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class Tiling(Layer):
    type = "Tiling"
    launches_only = True

    def setup(self, shapes):
        if self.spec.tiling_param.tile_dim < 1:
            raise SchemaFault("tile_dim is missing or 0: write tiling_param { tile_dim: 8 } for 8 x 8 pixels of each")
        return []

    def infer(self, shapes):
        (shape,), side = shapes, self.spec.tiling_param.tile_dim
        if len(shape) != 4 or shape[1] % side**2:
            raise ShapeFault(f"the bottom has shape {shape}: (N, C, H, W) with a C that {side}^2 divides is expected")
        return [(shape[0], shape[1] // side**2, shape[2] * side, shape[3] * side)]

    def forward(self, xs):
        (x,), side = xs, self.spec.tiling_param.tile_dim
        n, channels, height, width = x.shape
        x = x.reshape(n, channels // side**2, side, side, height, width).transpose(0, 1, 4, 2, 5, 3)
        return [x.reshape(n, channels // side**2, height * side, width * side)]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        (dy,), side = dys, self.spec.tiling_param.tile_dim
        n, channels, height, width = dy.shape
        dy = dy.reshape(n, channels, height // side, side, width // side, side).transpose(0, 1, 3, 5, 2, 4)
        return [dy.reshape(n, channels * side**2, height // side, width // side)]

    def to_onnx(self, graph, xs):
        return [graph.node("DepthToSpace", xs[0], blocksize=self.spec.tiling_param.tile_dim, mode="CRD")]
