"""GLU (MyCaffe): a gated linear unit, sigmoid(x @ W1.T + b1) * (x @ W2.T + b2).

Bottom (..., values), the values being all axes from `axis` on; top (..., input_dim).  Params: W1 (input_dim, values),
b1 (input_dim,), W2, b2; the biases with bias_term only.

Source: "Language modeling with gated convolutional networks" (Dauphin et al., 2017), 2.
"""

from demitasse.layers.gated import GatedUnit, refuse_noise, row_count, rows, width
from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.errors import SchemaFault


class GLU(Layer):
    type = "GLU"
    fields = ("glu_param",)

    def setup(self, shapes):
        param = self.spec.glu_param
        refuse_noise(param)
        if not param.input_dim:
            raise SchemaFault("glu_param needs input_dim: how many numbers a row of the top has")
        self.unit = GatedUnit(param.input_dim, width(shapes[0], param.axis), param, param.bias_term)
        return self.unit.params

    def infer(self, shapes):
        param, (shape,) = self.spec.glu_param, shapes
        width(shape, param.axis, self.unit.inputs, "that of the weights")
        return [(*shape[: axis_index(param.axis, shape)], param.input_dim)]

    def forward(self, xs):
        y, saved = self.unit.forward(self.be, rows(xs[0], self.spec.glu_param.axis))
        if self.keep:
            self.saved = saved, xs[0].shape
        return [y.reshape(self.infer([xs[0].shape])[0])]

    def backward(self, dys, need):
        saved, shape = self.saved
        dx = self.unit.backward(self.be, rows(dys[0], -1), saved)
        return [dx.reshape(shape) if need[0] else None]

    def macs(self, bottom_shapes, top_shapes):
        return row_count(top_shapes[0], -1) * 2 * self.unit.inputs * self.spec.glu_param.input_dim
