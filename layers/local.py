"""Local: a convolution whose weights are no longer shared: each position of the top has kernels and a bias of its own.

Weights are (num_output, 1, channels * kernel * kernel, positions), the bias (1, 1, num_output, positions): the layer
keeps to the size of the bottom that it was set up for.

Source: "DeepFace: Closing the Gap to Human-Level Performance in Face Verification" (Taigman et al., 2014), 2.2; the
fields and the params' shapes are those of BVLC's pull request 1271.
"""

import math

from demitasse.layers.backend.geometry import ConvGeometry
from demitasse.layers.convolution import by
from demitasse.layers.layer import Layer, Param
from demitasse.layers.onnx.windows import im2col
from demitasse.proto.errors import SchemaFault, ShapeFault


class Local(Layer):
    type = "Local"
    launches_only = True
    multiplies = True

    def setup(self, shapes):
        (shape,), param = shapes, self.spec.local_param
        if len(shape) != 4:
            raise ShapeFault(f"the bottom has shape {shape}: 4 axes expected")
        if not (param.num_output and param.kernel_size and param.stride):
            raise SchemaFault("local_param: num_output, kernel_size and stride have to be at least 1")
        self.outputs = param.num_output
        self.geometry = ConvGeometry((param.kernel_size,) * 2, (param.stride,) * 2, (param.pad,) * 2, (1, 1), 1)
        self.sides, self.out = shape[1:], self.geometry.out_size(shape[2:])
        if min(self.out) < 1:
            raise ShapeFault(
                f"a kernel of {by(self.geometry.kernel)} does not fit into the bottom's {by(shape[2:])}: "
                "use a larger bottom, a smaller kernel_size or more pad"
            )
        self.inputs, self.positions = shape[1] * param.kernel_size**2, math.prod(self.out)
        params = [Param((self.outputs, 1, self.inputs, self.positions), param.weight_filler)]
        if param.bias_term:
            params.append(Param((1, 1, self.outputs, self.positions), param.bias_filler))
        return params

    def infer(self, shapes):
        (shape,) = shapes
        if shape[1:] != self.sides:
            raise ShapeFault(f"the bottom has shape {shape}: its weights are for images of {by(self.sides)}")
        return [(shape[0], self.outputs, *self.out)]

    def forward(self, xs):
        columns = self.be.im2col(xs[0], self.geometry).reshape(len(xs[0]), self.inputs, self.positions)
        if self.keep:
            self.saved = columns
        y = self.xp.matmul(columns.transpose(2, 0, 1), self._weights().transpose(0, 2, 1)).transpose(1, 2, 0)
        if len(self.params) > 1:
            y = y + self.params[1].data[0]
        return [self.xp.ascontiguousarray(y).reshape(len(xs[0]), self.outputs, *self.out)]

    def backward(self, dys, need):
        columns = self.saved
        dy = dys[0].reshape(len(columns), self.outputs, self.positions).transpose(2, 0, 1)
        if self.params[0].grad is not None:
            dw = self.xp.matmul(dy.transpose(0, 2, 1), columns.transpose(2, 0, 1))
            self.params[0].grad += dw.transpose(1, 2, 0)[:, None]
        if len(self.params) > 1 and self.params[1].grad is not None:
            self.params[1].grad += dy.sum(1).T
        if not need[0]:
            return [None]
        dx = self.xp.ascontiguousarray(self.xp.matmul(dy, self._weights()).transpose(1, 2, 0))
        dx = dx.reshape(len(columns), self.inputs, *self.out)
        return [self.be.col2im(dx, self.geometry, self.sides[0], self.sides[1:])]

    def to_onnx(self, graph, xs):
        sides = [self.outputs, self.inputs, self.positions]
        columns = graph.reshape(im2col(graph, xs[0], 1, self.geometry), [-1, *sides[1:]])
        weights = graph.node("Transpose", graph.reshape(graph.param(0), sides), perm=[2, 1, 0])
        products = graph.node("MatMul", graph.node("Transpose", columns, perm=[2, 0, 1]), weights)  # for each position
        y = graph.node("Transpose", products, perm=[1, 2, 0])
        if len(self.params) > 1:
            y = graph.node("Add", y, graph.reshape(graph.param(1), sides[::2]))
        return [graph.reshape(y, [graph.size(xs[0], 0), self.outputs, *self.out])]

    def macs(self, bottom_shapes, top_shapes):
        return math.prod(top_shapes[0]) * self.inputs

    def _weights(self):
        """(positions, num_output, channels * kernel * kernel)."""
        return self.params[0].data[:, 0].transpose(2, 0, 1)
