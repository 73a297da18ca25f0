"""GRN (MyCaffe): a gated residual network, which changes its bottom as much or as little as pays.

    y = normalised(x + GLU(drop(W2 ELU(W1 x + b1 [+ Wc c]) + b2)))

Bottoms: x (..., input_dim), and if wanted a context c of as many rows; top (..., output_dim).  The values of a row are
all axes from `axis` on; each row of the top has mean 0 and variance 1.  Where output_dim is not input_dim, x is mapped
by Ws x + bs first.  In TRAIN dropout acts before the gate.
Params: [Ws (output_dim, input_dim), bs,] W1 (hidden_dim, input_dim), b1, [Wc (hidden_dim, context_dim),]
W2 (output_dim, hidden_dim), b2, and of the GLU the gate's weights and bias, then the value's, (output_dim, output_dim).

Source: "Temporal fusion transformers for interpretable multi-horizon time series forecasting" (Lim et al., 2021), 4.1.
"""

from demitasse.layers.gated import ResidualNetwork, row_count, rows, share, width
from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.errors import ShapeFault
from demitasse.proto.messages import GrnParameter


class GRN(Layer):
    type = "GRN"
    fields = ("grn_param",)
    bottoms = (1, 2)

    def setup(self, shapes):
        param = self.spec.grn_param
        ratio = param.dropout if param.HasField("dropout") else param.dropout_ratio
        inputs = width(shapes[0], param.axis, param.input_dim, "input_dim")
        context = width(shapes[1], param.axis, param.context_dim, "context_dim") if len(shapes) > 1 else 0
        sizes = inputs, param.hidden_dim, param.output_dim, context
        relu = param.activation == GrnParameter.RELU
        self.network = ResidualNetwork(sizes, param, share(ratio) * self.train, relu)
        return self.network.params

    def infer(self, shapes):
        param, told = self.spec.grn_param, "that of the weights"
        for shape, inputs in zip(shapes, self.network.inputs, strict=False):
            width(shape, param.axis, inputs, told)
            if row_count(shape, param.axis) != row_count(shapes[0], param.axis):
                raise ShapeFault(f"the bottoms have shapes {shapes[0]} and {shape}: as many rows of both are needed")
        return [(*shapes[0][: axis_index(param.axis, shapes[0])], param.output_dim)]

    def forward(self, xs):
        y, saved = self.network.forward(self.be, *(rows(x, self.spec.grn_param.axis) for x in xs))
        shapes = [x.shape for x in xs]
        if self.keep:
            self.saved = saved, shapes
        return [y.reshape(self.infer(shapes)[0])]

    def backward(self, dys, need):
        saved, shapes = self.saved
        grads = self.network.backward(self.be, rows(dys[0], -1), saved, need[-1])
        return [
            grad.reshape(shape) if wanted else None for grad, shape, wanted in zip(grads, shapes, need, strict=False)
        ]

    def macs(self, bottom_shapes, top_shapes):
        return row_count(top_shapes[0], -1) * self.network.macs()
