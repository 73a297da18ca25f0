"""InnerProduct: each row of bottom values (all axes from `axis` on) times learned weights, plus a bias.

Weights are (num_output, values), or (values, num_output) with `transpose`; the bias is (num_output,).  With `normalize`
(AMSoftmax's fork) each output's weights count as if of length 1: an item of length 1 then gives cosines.  With
`min_top_axes` (MyCaffe) the top has so many axes at least, the last ones 1.
"""

from __future__ import annotations

import math

from demitasse.layers.layer import Layer, Param, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault


class InnerProduct(Layer):
    type = "InnerProduct"
    launches_only = True
    fuses_relu = multiplies = True
    drawn_as = "filter"

    def setup(self, shapes):
        param = self.spec.inner_product_param
        if param.num_output == 0:
            raise SchemaFault("num_output is missing or 0: write inner_product_param { num_output: <size of the top> }")
        self.axis = axis_index(param.axis, shapes[0])
        self.values = math.prod(shapes[0][self.axis :])
        shape = (self.values, param.num_output) if param.transpose else (param.num_output, self.values)
        params = [Param(shape, param.weight_filler)]
        if param.bias_term:
            params.append(Param((param.num_output,), param.bias_filler))
        return params

    def infer(self, shapes):
        (shape,) = shapes
        values = math.prod(shape[self.axis :])
        if values != self.values:
            raise ShapeFault(
                f"the bottom has shape {shape}: {values} values from axis {self.axis} on, but the weights "
                f"are for {self.values} (a Convolution takes any size)"
            )
        top = (*shape[: self.axis], self.spec.inner_product_param.num_output)
        return [top + (1,) * (self.spec.inner_product_param.min_top_axes - len(top))]

    def forward(self, xs, relu=None):
        be, (x,), transpose = self.be, xs, self.spec.inner_product_param.transpose
        bias, (weight, length) = self.params[1].data if len(self.params) > 1 else None, self._weight()
        if not transpose and length is None:
            y = be.inner_product(self._rows(x), weight, bias, relu)
        else:
            y = be.matmul(self._rows(x), weight, tb=not transpose)
            y = y if bias is None and relu is None else be.affine(y, None, None, bias, relu)
        if self.keep:
            self.saved = x, y if relu is not None else None
        return [y.reshape(self.infer([x.shape])[0])]

    def backward(self, dys, need, relu=None):
        be, transpose, (x, y) = self.be, self.spec.inner_product_param.transpose, self.saved
        dy, rows = dys[0].reshape(-1, self.spec.inner_product_param.num_output), self._rows(x)
        if relu is not None:
            dy = be.relu_backward(dy, y, relu)
        (weight, *bias), (used, length) = self.params, self._weight()
        if weight.grad is not None:
            left, right = (rows, dy) if transpose else (dy, rows)
            if length is None:
                be.matmul(left, right, out=weight.grad, add=True, ta=True)
            else:
                dw = be.matmul(left, right, ta=True)
                weight.grad += (dw - used * (dw * used).sum(0 if transpose else 1, keepdims=True)) / length
        if bias and bias[0].grad is not None:
            be.bias_backward(dy, bias[0].grad)
        return [be.matmul(dy, used, tb=transpose).reshape(x.shape) if need[0] else None]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.spec.inner_product_param
        rows = x if len(x.shape) == 2 and self.axis == 1 else graph.node("Flatten", x, axis=self.axis)
        weight, *bias = self.onnx_params(graph)
        if param.normalize:
            squares = graph.sum(weight * weight, [0 if param.transpose else 1])
            weight = weight / graph.node("Sqrt", squares)
        y = graph.node("Gemm", rows, weight, *bias, transB=int(not param.transpose))
        top = [*graph.sizes(x)[: self.axis], param.num_output]
        top += [1] * (param.min_top_axes - len(top))
        return [y if len(top) == 2 else graph.reshape(y, top)]

    def onnx_params(self, graph) -> list:
        """The weights and, where there is one, the bias that the operator takes."""
        return [graph.param(i) for i in range(len(self.params))]

    def macs(self, bottom_shapes, top_shapes):
        return math.prod(top_shapes[0]) * self.values

    def _weight(self):
        """(weights to multiply by, the lengths that they were divided by or None)."""
        param, weight = self.spec.inner_product_param, self.params[0].data
        if not param.normalize:
            return weight, None
        length = self.xp.sqrt(self.xp.square(weight).sum(0 if param.transpose else 1, keepdims=True))
        return weight / length, length

    def _rows(self, x):
        return x.reshape(math.prod(x.shape[: self.axis]), self.values)
