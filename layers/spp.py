"""SPP: spatial pyramid pooling, a vector of one length from an image of any size.

Level l pools x (N, C, H, W) into 2^l x 2^l bins; the levels 0 to pyramid_height - 1 stand one behind the other in
the top (N, C * number of bins).
"""

import math

from demitasse.layers.backend.geometry import PoolGeometry
from demitasse.layers.layer import Layer
from demitasse.layers.onnx.windows import bins
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import SPPParameter


class SPP(Layer):
    type = "SPP"
    launches_only = True

    def setup(self, shapes):
        if self.spec.spp_param.pyramid_height < 1:
            raise SchemaFault("spp_param needs pyramid_height, the number of levels: 1 or more")
        if self.spec.spp_param.pool == SPPParameter.STOCHASTIC:
            raise SchemaFault("pool: STOCHASTIC cannot draw from the pad that SPP's windows may have: use MAX or AVE")
        return []

    def infer(self, shapes):
        (shape,), height = shapes, self.spec.spp_param.pyramid_height
        if len(shape) != 4:
            raise ShapeFault(f"the bottom has shape {shape}: SPP pools images, (N, C, H, W)")
        self.levels(shape)
        if height == 1:
            return [(*shape[:2], 1, 1)]
        return [(shape[0], shape[1] * sum(4**level for level in range(height)))]

    def levels(self, shape):
        """The windows of each level over a bottom of this shape."""
        return [self.geometry(shape[2:], 2**level) for level in range(self.spec.spp_param.pyramid_height)]

    def geometry(self, spatial, bins):
        """Windows as small as cover the image; what they cover too much is half before the image, half behind.

        ShapeFault for a smaller image.
        """
        kernel = [-(-size // bins) for size in spatial]
        pad = [(k * bins - size + 1) // 2 for k, size in zip(kernel, spatial, strict=True)]
        if any(p >= k for p, k in zip(pad, kernel, strict=True)):
            raise ShapeFault(
                f"an image of {spatial[0]} x {spatial[1]} cannot be pooled into {bins} x {bins} bins: "
                "some would lie outside it; lower pyramid_height or enlarge the image"
            )
        return PoolGeometry(tuple(kernel), tuple(kernel), tuple(pad), (bins, bins))

    def forward(self, xs):
        (x,), be, pooled, saved = xs, self.be, [], []
        for level in self.levels(x.shape):
            index = None
            if self.spec.spp_param.pool == SPPParameter.MAX:
                y, index = be.max_pool_forward(x, level)
            else:
                y = be.ave_pool_forward(x, level)
            pooled.append(y)
            saved.append(index)
        if self.keep:
            self.saved = saved, x.shape
        if len(pooled) == 1:
            return pooled
        return [self.xp.concatenate([y.reshape(len(x), math.prod(y.shape[1:])) for y in pooled], axis=1)]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        indices, shape = self.saved
        dx, dy, start = self.be.zeros(shape), dys[0].reshape(dys[0].shape[:2]), 0
        for level, index in zip(self.levels(shape), indices, strict=True):
            end = start + shape[1] * level.out[0] * level.out[1]
            part = self.be.part(dy, 1, start, end).reshape(*shape[:2], *level.out)
            if index is None:
                dx += self.be.ave_pool_backward(part, level, shape[2:])
            else:
                dx += self.be.max_pool_backward(part, index, level, shape[2:])
            start = end
        return [dx]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.spec.spp_param
        largest = param.pool == SPPParameter.MAX
        levels = [bins(graph, x, 2**level, largest) for level in range(param.pyramid_height)]
        return levels if len(levels) == 1 else [graph.concat([graph.node("Flatten", y, axis=1) for y in levels], 1)]
