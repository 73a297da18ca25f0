"""Eltwise: the SUM (each bottom times its coeff), the PROD or the MAX of bottoms of equal shape.

Of equal values MAX takes the second bottom's before the first's, and either before those of later bottoms.
A single bottom needs a coeff, by which it is scaled: Caffe refuses it, FlowNet's nets have such layers.
"""

from demitasse.layers.layer import SAME_COORDS, Layer
from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault
from demitasse.proto.messages import EltwiseParameter


class Eltwise(Layer):
    type = "Eltwise"
    launches_only = True
    drawn_as = "join"
    bottoms = (1, None)
    in_place = fuses_relu = True

    @property
    def takes_nhwc(self):
        return not self.keep and self.operation == EltwiseParameter.SUM  # backward scales gradients by itself

    def setup(self, shapes):
        param = self.spec.eltwise_param
        if len(shapes) == 1 and not param.coeff:
            raise GraphFault("has 1 bottom: it takes at least 2, or a coeff by which the one is scaled")
        self.operation = param.operation
        self.coeffs = list(param.coeff) or [1.0] * len(shapes)
        if len(self.coeffs) != len(shapes):
            raise SchemaFault(
                f"coeff is given {len(self.coeffs)} times for {len(shapes)} bottoms: give one for each, or none"
            )
        if param.coeff and self.operation == EltwiseParameter.PROD:
            raise SchemaFault("coeff belongs to operation: SUM: PROD has no coefficients")
        return []

    def advice(self, shapes):
        ignored = self.spec.eltwise_param.coeff and self.operation == EltwiseParameter.MAX
        return ["coeff is ignored for operation: MAX"] if ignored else []

    @property
    def is_sum(self):
        return self.operation == EltwiseParameter.SUM and set(self.coeffs) == {1.0}

    def infer(self, shapes):
        for i, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise ShapeFault(
                    f"bottom 0 has shape {shapes[0]}, bottom {i} has shape {shape}: equal shapes expected "
                    "(a Crop layer cuts one to the other)"
                )
        return [shapes[0]]

    def forward(self, xs, relu=None):
        if self.operation == EltwiseParameter.SUM:
            y, kept = self.be.weighted_sum(xs, self.coeffs, relu), None
        else:
            y, kept = self._product(xs) if self.operation == EltwiseParameter.PROD else self._maximum(xs)
            y = y if relu is None else self.be.relu_forward(y, relu)
        if self.keep:
            self.saved = kept, y if relu is not None else None
        return [y]

    def backward(self, dys, need, relu=None):
        (dy,), op = dys, self.operation
        if relu is not None:
            dy = self.be.relu_backward(dy, self.saved[1], relu)
        if op == EltwiseParameter.SUM:
            return [_times(dy, c) if n else None for c, n in zip(self.coeffs, need, strict=True)]
        if op == EltwiseParameter.MAX:
            return [dy * (self.saved[0] == i) if n else None for i, n in enumerate(need)]
        return [dy * self._others(i) if n else None for i, n in enumerate(need)]

    def to_onnx(self, graph, xs):
        if self.operation == EltwiseParameter.MAX:
            return [graph.node("Max", *xs)]
        first, *others = xs if self.operation == EltwiseParameter.PROD else map(_times, xs, self.coeffs)
        for other in others:
            first = first * other if self.operation == EltwiseParameter.PROD else first + other
        return [first]

    def coords(self):
        return SAME_COORDS

    def _product(self, xs):
        """(y, what backward needs), as _maximum."""
        y = xs[0]
        for x in xs[1:]:
            y = y * x
        return y, (xs, y)

    def _maximum(self, xs):
        xp, y = self.xp, xs[0]
        winner = xp.zeros(y.shape, "int8" if len(xs) < 128 else "int32")
        for i, x in enumerate(xs[1:], 1):
            wins = ~(y > x) if i == 1 else x > y
            y, winner = xp.where(wins, x, y), xp.where(wins, winner.dtype.type(i), winner)
        return y, winner

    def _others(self, i):
        """The derivative of the product by bottom i: the product of the others."""
        xs, y = self.saved[0]
        if not self.spec.eltwise_param.stable_prod_grad:
            xp, x = self.xp, xs[i]
            return xp.where(x == 0, xp.nan, y / xp.where(x == 0, 1, x))  # one division; no answer at 0, as asked for
        others = [x for j, x in enumerate(xs) if j != i]
        product = others[0]
        for x in others[1:]:
            product = product * x
        return product


def _times(x, coeff):
    return x if coeff == 1 else x * coeff
