"""GateAddNorm (MyCaffe): what a layer has found, gated, added to what it found it in, and normalised.

    y = normalised(GLU(drop(x)) [+ r])

Bottoms: x (..., values), and if wanted r, which has the top's shape, or residual_channel_offset steps (axis 1) more
than it, before those that are added.  Top (..., input_dim of glu_param).  The values of a row are all axes from
glu_param's `axis` on; each row of the top has mean 0 and variance 1.  In TRAIN dropout acts by dropout_param.
Params: those of GLU.

Source: "Temporal fusion transformers for interpretable multi-horizon time series forecasting" (Lim et al., 2021), 4.5.
"""

from demitasse.layers.gated import GatedUnit, normalise, normalise_backward, refuse_noise, row_count, rows, share, width
from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault


class GateAddNorm(Layer):
    type = "GateAddNorm"
    fields = ("gateaddnorm_param", "glu_param", "dropout_param", "layer_norm_param")
    bottoms = (1, 2)

    def setup(self, shapes):
        param = self.spec.glu_param
        refuse_noise(param)
        if not param.input_dim:
            raise SchemaFault("glu_param needs input_dim: how many numbers a row of the top has")
        drop = self.spec.dropout_param
        self.ratio = share(drop.dropout_ratio) * (self.train or drop.sample_weights_test)
        self.unit = GatedUnit(param.input_dim, width(shapes[0], param.axis), param, param.bias_term)
        return self.unit.params

    def infer(self, shapes):
        param, offset = self.spec.glu_param, self.spec.gateaddnorm_param.residual_channel_offset
        width(shapes[0], param.axis, self.unit.inputs, "that of the weights")
        top = (*shapes[0][: axis_index(param.axis, shapes[0])], param.input_dim)
        needed = (top[0], top[1] + offset, *top[2:]) if offset and len(top) > 1 else top
        if len(shapes) > 1 and shapes[1] != needed:
            raise ShapeFault(
                f"the bottoms have shapes {shapes[0]} and {shapes[1]}: with residual_channel_offset {offset} the "
                f"second is to be {needed}"
            )
        return [top]

    def forward(self, xs):
        be, x, mask = self.be, rows(xs[0], self.spec.glu_param.axis), None
        if self.ratio:
            x, mask = be.dropout_forward(x, self.ratio)
        y, unit = self.unit.forward(be, x)
        if len(xs) > 1:
            y = y + self._last_steps(xs[1]).reshape(y.shape)
        y, spread = normalise(self.xp, y, self.spec.layer_norm_param.epsilon)
        shapes = [x.shape for x in xs]
        if self.keep:
            self.saved = mask, unit, y, spread, shapes
        return [y.reshape(self.infer(shapes)[0])]

    def backward(self, dys, need):
        be, (mask, unit, y, spread, shapes) = self.be, self.saved
        dsum = normalise_backward(rows(dys[0], -1), y, spread)
        dx = self.unit.backward(be, dsum, unit)
        if mask is not None:
            dx = be.dropout_backward(dx, mask, self.ratio)
        grads = [dx.reshape(shapes[0]) if need[0] else None]
        if len(shapes) > 1:
            grads.append(be.zeros(shapes[1]) if need[1] else None)
            if need[1]:
                self._last_steps(grads[1])[...] = dsum.reshape(dys[0].shape)
        return grads

    def macs(self, bottom_shapes, top_shapes):
        return row_count(top_shapes[0], -1) * 2 * self.unit.inputs * self.spec.glu_param.input_dim

    def _last_steps(self, residual):
        """The steps of the second bottom that are added: a view."""
        offset = self.spec.gateaddnorm_param.residual_channel_offset
        return residual[:, offset:] if offset else residual
