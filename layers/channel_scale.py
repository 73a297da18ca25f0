"""ChannelScale (AMSoftmax): every item, or every pixel of it, times a number of its own.

Bottoms: x (N, C, spatial...) and the numbers (N,) or (N, 1, spatial...), such as the lengths that Normalize puts out.

Source: the prototxts of AMSoftmax.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class ChannelScale(Layer):
    type = "ChannelScale"
    launches_only = True
    bottoms = (2, 2)

    def infer(self, shapes):
        x, scale = shapes
        pixels = (x[0], 1, *x[2:]) if len(x) > 1 else x
        if len(x) < 2 or scale not in (pixels, x[:1], pixels[:2]):
            raise ShapeFault(f"the bottoms have shapes {x} and {scale}: a number for each item, {pixels}, is needed")
        return [x]

    def forward(self, xs):
        x, scale = xs
        scale = scale.reshape(*scale.shape, *(1,) * (x.ndim - scale.ndim))
        if self.keep:
            self.saved = x, scale, xs[1].shape
        return [x * scale]

    def backward(self, dys, need):
        (x, scale, shape), dy, dscale = self.saved, dys[0], None
        if need[1]:
            axes = tuple(axis for axis in range(1, x.ndim) if scale.shape[axis] == 1)
            dscale = (dy * x).sum(axes).reshape(shape)
        return [dy * scale if need[0] else None, dscale]

    def to_onnx(self, graph, xs):
        x, scale = xs
        return [x * graph.reshape(scale, [*graph.sizes(scale), *(1,) * (len(x.shape) - len(scale.shape))])]
