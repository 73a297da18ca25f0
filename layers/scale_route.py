"""ScaleRoute (Cascade R-CNN): of regions, and of what belongs to them, those of a range of sizes.

Bottom 0: rois (R, 5), a row (image, x1, y1, x2, y2); more bottoms (R, ...).  Tops: the rows of each whose roi's scale,
the root of its area, is low_scale or more and below high_scale; where there is none the one whose scale is nearest to
the range's middle (that of the logarithms; 256 without a range).  Nothing gets a gradient.

Source: the prototxts of Cascade R-CNN's pyramids ("Feature pyramid networks", Lin et al., 2017, 4.2).
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault

MIDDLE = 256.0


class ScaleRoute(Layer):
    type = "ScaleRoute"
    bottoms, tops = (1, None), (1, None)
    same_count = True
    never_differentiable = tuple(range(64))
    shapes_from_data = True

    def setup(self, shapes):
        param = self.spec.scale_route_param
        low, high = (getattr(param, name) if param.HasField(name) else None for name in ("low_scale", "high_scale"))
        if (low is not None and low <= 0) or (high is not None and high <= (low or 0)):
            raise SchemaFault(f"low_scale {low} is above 0, and high_scale {high} above that")
        given = [scale for scale in (low, high) if scale is not None]
        self.low, self.high = low or 0.0, math.inf if high is None else high
        self.middle = math.sqrt(math.prod(given)) if len(given) == 2 else given[0] if given else MIDDLE
        return []

    def infer(self, shapes):
        if math.prod(shapes[0][1:]) != 5 or any(shape[:1] != shapes[0][:1] for shape in shapes):
            raise ShapeFault(f"bottoms of shapes {shapes}: rois (R, 5), and as many rows of all others, are needed")
        return list(shapes)

    def forward(self, xs):
        xp, rois = self.xp, xs[0].reshape(len(xs[0]), 5)
        sides = xp.maximum(rois[:, 3:] - rois[:, 1:3] + 1, 0)
        scale = xp.sqrt(sides[:, 0] * sides[:, 1])
        chosen = (scale >= self.low) & (scale < self.high)
        if len(chosen) and not chosen.any():
            tiny = xp.finfo(scale.dtype).tiny
            chosen[int(abs(xp.log2(xp.maximum(scale, tiny) / self.middle)).argmin())] = True
        return [x[chosen] for x in xs]

    def backward(self, dys, need):
        return [None] * len(need)
