"""SVX, CosinAddm: cosines of classes, of which the label's has to win by a margin of its angle, in TRAIN.

Bottoms: cosines (N, C), labels (N,); top (N, C); TEST changes nothing.  With the angle a of the label's class its
cosine becomes

    SVX        f = cos(m1 a + m3) - m2
    CosinAddm  f = cos(a + m), and where a + m is beyond pi, cos(a) - m sin(m)

and the cosine c of any other class that is larger than f becomes t c + t - 1, so that what is wrong counts more.

Source: "ArcFace: Additive angular margin loss for deep face recognition" (Deng et al., 2019); "Support vector guided
softmax loss for face recognition" (Wang et al., 2018); the fields of tanghy2016's and xialuxi's forks.
"""

import math

from demitasse.layers.labels import check_labels
from demitasse.layers.layer import Layer

NEAREST = 1e-6  # of the sine that slopes are divided by


class AngularMargin(Layer):
    """The base of both: an heir says what becomes of the label's cosine."""

    bottoms = (2, 2)
    never_differentiable = (1,)

    def infer(self, shapes):
        check_labels(*shapes, 1)
        return [shapes[0]]

    def forward(self, xs):
        if not self.changes():
            self.saved = None
            return [xs[0]]
        (cosines, labels), xp = xs, self.xp
        labels, _ = self.be.checked_labels(cosines.shape, labels, 1, None)
        own = labels.astype(int).reshape(-1, 1) == xp.arange(cosines.shape[1])
        flat = cosines.reshape(own.shape)
        f, slope = self.margin(xp.clip((flat * own).sum(1, keepdims=True), -1, 1))
        factor = xp.where(flat > f, self.factor(), 1)
        y = xp.where(own, f, factor * flat + factor - 1)
        if self.keep:
            self.saved = xp.where(own, slope, factor).astype(flat.dtype)
        return [y.astype(flat.dtype).reshape(cosines.shape)]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        return [dys[0] if self.saved is None else dys[0] * self.saved.reshape(dys[0].shape), None]

    def to_onnx(self, graph, xs):
        return [xs[0]]

    def changes(self) -> bool:
        """Whether it does anything in this phase."""
        return self.train

    def factor(self) -> float:
        """t."""
        raise NotImplementedError(self.type)

    def margin(self, cosine):
        """(f, its derivative) of the label's cosines (N, 1)."""
        raise NotImplementedError(self.type)

    def sine(self, cosine):
        """Of the angles, never quite 0."""
        return self.xp.maximum(self.xp.sqrt(1 - cosine * cosine), NEAREST)


class SVX(AngularMargin):
    """Margins m1, m2 and m3 of support vector guided softmax."""

    type = "SVX"
    fields = ("sv_x_param",)

    def factor(self):
        return self.spec.sv_x_param.t

    def margin(self, cosine):
        xp, param = self.xp, self.spec.sv_x_param
        angle = param.m1 * xp.arccos(cosine) + param.m3
        return xp.cos(angle) - param.m2, param.m1 * xp.sin(angle) / self.sine(cosine)


class CosinAddm(AngularMargin):
    """ArcFace's margin m."""

    type = "CosinAddm"
    fields = ("cosin_add_m_param",)

    def changes(self):
        return self.train or self.spec.cosin_add_m_param.transform_test

    def factor(self):
        return self.spec.cosin_add_m_param.t

    def margin(self, cosine):
        xp, m = self.xp, self.spec.cosin_add_m_param.m
        angle = xp.arccos(cosine) + m
        near = angle <= math.pi
        f = xp.where(near, xp.cos(angle), cosine - m * math.sin(m))
        return f, xp.where(near, xp.sin(angle) / self.sine(cosine), 1)
