"""Reorg (YOLO): trades pixels for channels, stride x stride of them, so that a finer map can join a coarser one.

x (N, C, H, W) becomes (N, C stride^2, H / stride, W / stride); with reverse: true channels become pixels.
The order is Darknet's, which published weights were learned with: the numbers of an item are read as an image of
C / stride^2 channels, stride H x stride W, and written so that pixel (stride i + a, stride j + b) of its channel c
comes to (i, j) of channel (stride a + b) C / stride^2 + c of an image of the bottom's size; those numbers, in their
order, are the top's.  With reverse the bottom's numbers go the opposite way.
Source: "YOLO9000: Better, Faster, Stronger" (Redmon and Farhadi, 2017), "Fine-Grained Features".
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class Reorg(Layer):
    type = "Reorg"
    launches_only = True

    def setup(self, shapes):
        if self.spec.reorg_param.stride < 1:
            raise SchemaFault("reorg_param.stride must be at least 1")
        return []

    def infer(self, shapes):
        (shape,), stride = shapes, self.spec.reorg_param.stride
        if len(shape) != 4 or shape[1] % stride**2:
            raise ShapeFault(
                f"the bottom has shape {shape}: Reorg takes (N, C, H, W) with a C that stride^2, {stride**2}, divides"
            )
        n, channels, height, width = shape
        if self.spec.reorg_param.reverse:
            return [(n, channels // stride**2, height * stride, width * stride)]
        if height % stride or width % stride:
            raise ShapeFault(f"the bottom is {height}x{width}: stride {stride} must divide both sides")
        return [(n, channels * stride**2, height // stride, width // stride)]

    def forward(self, xs):
        if self.keep:
            self.saved = xs[0].shape
        y = self.reordered(xs[0], xs[0].shape, self.spec.reorg_param.reverse)
        return [y.reshape(self.infer([xs[0].shape])[0])]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        return [self.reordered(dys[0], self.saved, not self.spec.reorg_param.reverse).reshape(self.saved)]

    def to_onnx(self, graph, xs):
        (n, channels, height, width), field = graph.sizes(xs[0]), self.spec.reorg_param
        stride = field.stride
        deep = channels // stride**2
        if field.reverse:
            x = graph.reshape(xs[0], [n, stride, stride, deep, height, width])
            x = graph.transpose(x, [0, 3, 4, 1, 5, 2])
            return [graph.reshape(x, [n, deep, height * stride, width * stride])]
        x = graph.reshape(xs[0], [n, deep, height, stride, width, stride])
        x = graph.transpose(x, [0, 3, 5, 1, 2, 4])
        return [graph.reshape(x, [n, channels * stride**2, height // stride, width // stride])]

    def reordered(self, x, bottom, back):
        """The numbers of x in the order told above for a bottom of this shape, or in the order before it."""
        (n, channels, height, width), stride = bottom, self.spec.reorg_param.stride
        deep = channels // stride**2
        if back:
            x = x.reshape(n, stride, stride, deep, height, width).transpose(0, 3, 4, 1, 5, 2)
        else:
            x = x.reshape(n, deep, height, stride, width, stride).transpose(0, 3, 5, 1, 2, 4)
        return self.xp.ascontiguousarray(x)
