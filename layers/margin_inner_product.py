"""MarginInnerProduct, LargeMarginInnerProduct (SphereFace): InnerProduct that makes it harder for the label's class.

With the angle t between an item x and a class's weights w, scores are |x| |w| cos(t), and that of the label becomes
|x| |w| (lambda cos(t) + psi(t)) / (1 + lambda), where psi(t) = (-1)^k cos(m t) - 2k falls all the way from t = 0 to pi;
m is 1 to 4 for type SINGLE to QUADRUPLE.  MarginInnerProduct takes |w| as 1 ("SphereFace", Liu et al., 2017),
LargeMarginInnerProduct as it is ("Large-margin softmax", Liu et al., 2016).

Bottoms: x (N, D), labels (N,).  Tops: scores (N, num_output) and, if wanted, lambda (1,), which falls from run to run:
max(lambda_min, base * (1 + gamma * iteration) ** -power).  Params: weights (num_output, D).

Source: "SphereFace" (Liu et al., 2017), "Large-margin softmax loss" (Liu et al., 2016).
"""

from __future__ import annotations

import math

from demitasse.layers.labels import check_labels
from demitasse.layers.layer import Layer, Param, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault

CHEBYSHEV = {1: (0, 1), 2: (-1, 0, 2), 3: (0, -3, 0, 4), 4: (1, 0, -8, 0, 8)}  # cos(m t) by powers of cos(t)


class MarginInnerProduct(Layer):
    """SphereFace's form: weights of length 1."""

    type = "MarginInnerProduct"
    fields = ("margin_inner_product_param",)
    bottoms, tops = (2, 2), (1, 2)
    never_differentiable = (1,)
    unit_weights = True

    def setup(self, shapes):
        self.param = getattr(self.spec, self.fields[0])
        if not self.param.num_output:
            raise SchemaFault("num_output is missing or 0: write the number of classes")
        self.values = math.prod(shapes[0][axis_index(self.param.axis, shapes[0]) :])
        self.iteration = self.param.iteration
        return [Param((self.param.num_output, self.values), self.param.weight_filler)]

    def infer(self, shapes):
        shape, labels = shapes
        axis = axis_index(self.param.axis, shape)
        if math.prod(shape[axis:]) != self.values:
            raise ShapeFault(f"the bottom has shape {shape}, but the weights are for {self.values} values of an item")
        scores = (*shape[:axis], self.param.num_output)
        check_labels(scores, labels, axis)
        return [scores, (1,)][: max(1, len(self.spec.top))]

    def forward(self, xs):
        be, xp, (weight,) = self.be, self.xp, self.params
        x, share = xs[0].reshape(xs[0].size // self.values, self.values), self._lambda()
        labels, _ = be.checked_labels((len(x), self.param.num_output), xs[1].reshape(-1), 1, None)
        length = xp.sqrt(xp.square(weight.data).sum(1, keepdims=True))
        w = weight.data / length if self.unit_weights else weight.data
        scores, rows, own = be.matmul(x, w, tb=True), xp.arange(len(x)), labels.reshape(-1).astype(int)
        x_length = xp.sqrt(xp.square(x).sum(1))
        w_length = xp.ones_like(x_length) if self.unit_weights else length.reshape(-1)[own]
        size = x_length * w_length
        cosine = xp.clip(scores[rows, own] / xp.where(size > 0, size, 1), -1, 1)
        psi, slope = self._psi(cosine)
        value, slope = (share * cosine + psi) / (1 + share), (share + slope) / (1 + share)
        if self.keep:
            self.saved = xs[0].shape, x, w, length, own, x_length, w_length, slope, value - cosine * slope
        scores[rows, own] = size * value
        if self.train:
            self.iteration += 1
        top = scores.reshape(*xs[0].shape[: axis_index(self.param.axis, xs[0].shape)], self.param.num_output)
        return [top, be.asarray([share])][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        shape, x, w, length, own, x_length, w_length, slope, rest = self.saved
        be, xp, (weight,) = self.be, self.xp, self.params
        if dys[0] is None:
            return [be.zeros(shape) if need[0] else None, None]
        dy = dys[0].reshape(len(x), self.param.num_output).copy()
        rows, radial = xp.arange(len(x)), dy[xp.arange(len(x)), own] * rest  # along the lengths of x and w
        dy[rows, own] *= slope
        if weight.grad is not None:
            dw = be.matmul(dy, x, ta=True)
            if self.unit_weights:
                dw = (dw - w * (dw * w).sum(1, keepdims=True)) / length
            else:
                of_label = be.zeros(dy.shape)
                of_label[rows, own] = radial * x_length / w_length
                dw += of_label.sum(0)[:, None] * w
            weight.grad += dw
        if not need[0]:
            return [None, None]
        dx = be.matmul(dy, w) + (radial * w_length / xp.where(x_length > 0, x_length, 1))[:, None] * x
        return [dx.reshape(shape), None]

    def state(self):
        return {"iteration": self.iteration}

    def load_state(self, state):
        self.iteration = state["iteration"]

    def _lambda(self) -> float:
        param = self.param
        return max(param.lambda_min, param.base * (1 + param.gamma * self.iteration) ** -param.power)

    def _psi(self, cosine):
        """psi and its derivative, both of the cosine."""
        m = 1 + self.param.type
        k = sum(cosine < math.cos(i * math.pi / m) for i in range(1, m)) if m > 1 else cosine * 0
        sign, factors = 1 - 2 * (k % 2), CHEBYSHEV[m]
        value = sum(factor * cosine**power for power, factor in enumerate(factors))
        slope = sum(power * factor * cosine ** max(power - 1, 0) for power, factor in enumerate(factors))
        return (sign * value - 2 * k).astype(cosine.dtype), (sign * slope).astype(cosine.dtype)


class LargeMarginInnerProduct(MarginInnerProduct):
    """Large-margin softmax: weights of any length."""

    type = "LargeMarginInnerProduct"
    fields = ("large_margin_inner_product_param",)
    unit_weights = False
