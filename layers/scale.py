"""Scale: y = s * x (+ b with bias_term), where s (learned, or bottom 1) spans `num_axes` axes of x from `axis` on."""

from demitasse.layers.affine import Affine, composed
from demitasse.layers.layer import Param
from demitasse.layers.span import SpanLayer
from demitasse.proto.messages import FillerParameter


class Scale(SpanLayer):
    type = "Scale"
    launches_only = True
    drawn_as = "join"
    multiplies = fuses_relu = True

    @property
    def takes_nhwc(self):
        return not self.keep and self.is_affine

    @property
    def is_affine(self):
        """Whether there is a learned number for each channel, axis 1."""
        return bool(self.params) and self.first == 1 and len(self.params[0].shape) == 1 == len(self.spec.bottom)

    @property
    def fuses_affine(self):
        return self.is_affine

    def affine(self):
        bias = self._bias()
        return Affine(self.params[0].data, bias.data if bias else None)

    def setup(self, shapes):
        param = self.spec.scale_param
        shape = self.span(param, shapes)
        filler = param.filler if param.HasField("filler") else FillerParameter(type="constant", value=1)
        params = [Param(shape, filler)] if len(shapes) == 1 else []
        return params + ([Param(shape, param.bias_filler)] if param.bias_term else [])

    def infer(self, shapes):
        for shape in [*shapes[1:], *(param.shape for param in self.params)]:
            self.check_span(shapes[0], shape)
        return [shapes[0]]

    def forward(self, xs, relu=None, affine=None):
        scale, bias = xs[1] if len(xs) > 1 else self.params[0].data, self._bias()
        if self.is_affine:
            y = self.be.affine(xs[0], None, *composed(self.be, self.affine(), affine), relu)
        else:
            y = xs[0] * self.stretched(scale, xs[0].ndim)
            y = y + self.stretched(bias.data, y.ndim) if bias else y
            y = y if relu is None else self.be.relu_forward(y, relu)
        if self.keep:
            self.saved = xs[0], scale, y if relu is not None else None
        return [y]

    def backward(self, dys, need, relu=None):
        (dy,), (x, scale, y), bias = dys, self.saved, self._bias()
        if self.is_affine:
            dscale, dshift = self.params[0].grad, bias.grad if bias else None
            dx = self.be.affine_backward(dy, x, scale, dscale, dshift, y, relu)
            return [dx if need[0] else None]
        if relu is not None:
            dy = self.be.relu_backward(dy, y, relu)
        if bias and bias.grad is not None:
            bias.grad += self.summed(dy, scale.shape)
        learned = self.params[0] if len(need) == 1 and self.params[0].grad is not None else None
        dscale = self.summed(dy * x, scale.shape) if learned or need[1:] == [True] else None
        if learned:
            learned.grad += dscale
        return [dy * self.stretched(scale, x.ndim) if need[0] else None, dscale][: len(need)]

    def to_onnx(self, graph, xs):
        y = xs[0] * self.stretched_in(graph, xs, 0)
        return [y + self.stretched_in(graph, xs[:1], len(self.params) - 1) if self._bias() else y]

    def _bias(self):
        return self.params[-1] if self.spec.scale_param.bias_term else None
