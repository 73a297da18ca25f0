"""VarSelNet (MyCaffe): which of several variables count, for each row anew, and the sum of them weighted so.

Bottoms: x (..., num_inputs * input_dim), and if wanted a context of as many rows, which has a say in the choice.
Tops: sum over i of v_i * GRN_i(x_i), (..., hidden_dim), and if wanted the weights v (..., num_inputs), which add up to
1 in each row (MyCaffe's second top is what they are the softmax of).  v is the softmax of a GRN of all of x; each GRN_i
has its own weights.  Params: those of that GRN, then those of each GRN_i, in GRN's order.

Source: "Temporal fusion transformers for interpretable multi-horizon time series forecasting" (Lim et al., 2021), 4.2.
"""

from demitasse.layers.gated import ResidualNetwork, row_count, rows, share, width
from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault


class VarSelNet(Layer):
    type = "VarSelNet"
    fields = ("varselnet_param",)
    bottoms, tops = (1, 2), (1, 2)

    def setup(self, shapes):
        param = self.spec.varselnet_param
        count, hidden, ratio = param.num_inputs, param.hidden_dim, share(param.dropout_ratio) * self.train
        inputs = width(shapes[0], param.axis)
        if not count or not hidden or inputs != count * (param.input_dim or inputs // max(count, 1)):
            raise SchemaFault(
                f"num_inputs {count}, input_dim {param.input_dim}, hidden_dim {hidden}: each is at least 1, and "
                f"num_inputs times input_dim the {inputs} numbers that the bottom {shapes[0]} has from axis "
                f"{param.axis} on"
            )
        context = width(shapes[1], param.axis, param.context_dim, "context_dim") if len(shapes) > 1 else 0
        self.choice = ResidualNetwork((inputs, hidden, count, context), param, ratio)
        self.networks = [ResidualNetwork((inputs // count, hidden, hidden, 0), param, ratio) for _ in range(count)]
        return [each for network in (self.choice, *self.networks) for each in network.params]

    def infer(self, shapes):
        param = self.spec.varselnet_param
        for shape, inputs in zip(shapes, self.choice.inputs, strict=False):
            width(shape, param.axis, inputs, "that of the weights")
            if row_count(shape, param.axis) != row_count(shapes[0], param.axis):
                raise ShapeFault(f"the bottoms have shapes {shapes[0]} and {shape}: as many rows of both are needed")
        outer = shapes[0][: axis_index(param.axis, shapes[0])]
        return [(*outer, param.hidden_dim), (*outer, param.num_inputs)][: max(1, len(self.spec.top))]

    def forward(self, xs):
        be, axis = self.be, self.spec.varselnet_param.axis
        x, *context = (rows(x, axis) for x in xs)
        logits, choice = self.choice.forward(be, x, *context)
        weights = be.softmax_forward(logits, 1)
        parts = [network.forward(be, part) for network, part in zip(self.networks, self._parts(x), strict=True)]
        y = sum(weights[:, i : i + 1] * part for i, (part, _) in enumerate(parts))
        shapes = [x.shape for x in xs]
        if self.keep:
            self.saved = weights, choice, parts, shapes
        return [top.reshape(shape) for top, shape in zip((y, weights), self.infer(shapes), strict=False)]

    def backward(self, dys, need):
        be, (weights, choice, parts, shapes) = self.be, self.saved
        dweights, dx = be.zeros(weights.shape), 0
        if dys[0] is not None:
            dy, dparts = rows(dys[0], -1), []
            for i, (network, (part, saved)) in enumerate(zip(self.networks, parts, strict=True)):
                dweights[:, i] = (dy * part).sum(1)
                dparts.append(network.backward(be, dy * weights[:, i : i + 1], saved)[0])
            dx = be.concatenate(dparts, 1)
        if len(dys) > 1 and dys[1] is not None:
            dweights += rows(dys[1], -1)
        dlogits = be.softmax_backward(dweights, weights, 1)
        dchoice, dcontext = self.choice.backward(be, dlogits, choice, need[-1])
        return [
            grad.reshape(shape) if wanted else None
            for grad, shape, wanted in zip((dx + dchoice, dcontext), shapes, need, strict=False)
        ]

    def macs(self, bottom_shapes, top_shapes):
        each = sum(network.macs() for network in (self.choice, *self.networks))
        return row_count(top_shapes[0], -1) * each

    def _parts(self, x):
        """The numbers of each variable, (rows, input_dim)."""
        size = x.shape[1] // len(self.networks)
        return [self.xp.ascontiguousarray(x[:, i * size : (i + 1) * size]) for i in range(len(self.networks))]
