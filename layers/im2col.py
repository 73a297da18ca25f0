"""Im2col: under each pixel of the convolution that convolution_param describes, the values its window sees.

(..., C, spatial...) -> (..., C * kernel..., out...), the channels of the bottom outermost
"""

import math

from demitasse.layers.convolution import by, read_geometry
from demitasse.layers.layer import Layer, axis_index
from demitasse.layers.onnx.windows import im2col
from demitasse.proto.errors import ShapeFault


class Im2col(Layer):
    type = "Im2col"
    launches_only = True
    fields = ("convolution_param",)

    def setup(self, shapes):
        param = self.spec.convolution_param
        self.axis = axis_index(param.axis, shapes[0], "convolution_param.axis")
        self.geometry = read_geometry(param, len(shapes[0]) - self.axis - 1)
        return []

    def infer(self, shapes):
        (shape,), axis, kernel = shapes, self.axis, self.geometry.kernel
        if len(shape) != axis + 1 + len(kernel):
            raise ShapeFault(f"the bottom has shape {shape}: {axis + 1 + len(kernel)} axes expected")
        out = self.geometry.out_size(shape[axis + 1 :])
        if min(out) < 1:
            raise ShapeFault(
                f"a kernel of {by(kernel)} does not fit into the bottom's {by(shape[axis + 1 :])}: "
                "use a larger bottom, a smaller kernel_size or more pad"
            )
        return [(*shape[:axis], shape[axis] * math.prod(kernel), *out)]

    def forward(self, xs):
        (x,) = xs
        if self.keep:
            self.saved = x.shape
        images = x.reshape(math.prod(x.shape[: self.axis]), *x.shape[self.axis :])
        return [self.be.im2col(images, self.geometry).reshape(self.infer([x.shape])[0])]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        (dy,), shape, axis = dys, self.saved, self.axis
        columns = dy.reshape(math.prod(shape[:axis]), *dy.shape[axis:])
        return [self.be.col2im(columns, self.geometry, shape[axis], shape[axis + 1 :]).reshape(shape)]

    def to_onnx(self, graph, xs):
        return [im2col(graph, xs[0], self.axis, self.geometry)]

    def window(self):
        return tuple(d * (k - 1) + 1 for k, d in zip(self.geometry.kernel, self.geometry.dilation, strict=True))

    def coords(self):
        g = self.geometry
        reach = [d * (k - 1) / 2 for k, d in zip(g.kernel, g.dilation, strict=True)]
        shift = tuple((p - r) / s for p, r, s in zip(g.pad, reach, g.stride, strict=True))
        return self.axis + 1, tuple(1 / s for s in g.stride), shift
