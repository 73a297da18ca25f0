"""SoftmaxWithFocalLoss: SoftmaxWithLoss that counts less what is right already.

Where a pixel's label has the probability p its loss is -alpha * (1 - p) ** gamma * log(p): with gamma 2 one of p = 0.9
counts a hundredth.  Bottoms, tops, ignored labels, class weights and divisor are those of SoftmaxWithLoss; alpha is the
same for all classes (give `class_weight` for one each).

Source: "Focal Loss for Dense Object Detection" (Lin et al., 2017), section 3.
"""

import math

from demitasse.layers.softmax_loss import SoftmaxWithLoss
from demitasse.proto.errors import SchemaFault


class SoftmaxWithFocalLoss(SoftmaxWithLoss):
    type = "SoftmaxWithFocalLoss"
    fields = ("focal_loss_param", "softmax_param", "loss_param")

    def setup(self, shapes):
        self.param = self.spec.focal_loss_param
        if not (self.param.gamma >= 0 and self.param.alpha > 0):
            raise SchemaFault(
                f"focal_loss_param has gamma {self.param.gamma:g} and alpha {self.param.alpha:g}: gamma is 0 or more, "
                "alpha above 0 (2 and 0.25 in the paper)"
            )
        return super().setup(shapes)

    def forward(self, xs):
        scores, labels = xs[0], xs[1].astype("int32")
        prob = self.be.softmax_forward(scores, self.axis)
        classes, counts = self.be.checked_labels(prob.shape, labels, self.axis, self.ignore)
        log_p, missing = self._of_labels(prob, classes)
        factor = counts * self.param.alpha
        if self.weights:
            factor = factor * self.be.asarray(self.weights)[classes]
        outer, inner = math.prod(scores.shape[: self.axis]), math.prod(scores.shape[self.axis + 1 :])
        divisor = self.divisor(outer, inner, counts.sum())
        if self.keep:
            self.saved = prob, labels, classes, factor, divisor
        self.seen = scores.shape, labels
        loss = -(factor * missing**self.param.gamma * log_p).sum()
        return [self.be.asarray(loss / divisor), prob][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        prob, labels, classes, factor, divisor = self.saved
        parts = []
        if dys[0] is not None:
            gamma, (log_p, missing) = self.param.gamma, self._of_labels(prob, classes)
            each = missing**gamma - gamma * self.xp.exp(log_p) * missing ** (gamma - 1) * log_p
            plain = self.be.softmax_loss_backward(prob, labels, self.axis, self.ignore, 1)
            parts.append((plain * (each * factor) * (dys[0] / divisor)).astype(prob.dtype))
        if len(dys) > 1 and dys[1] is not None:
            parts.append(self.be.softmax_backward(dys[1], prob, self.axis))
        return [sum(parts[1:], parts[0]), None]

    def onnx_term(self, graph, log_p):
        missing = graph.clip(1.0 - graph.node("Exp", log_p), low=0.0)
        return log_p * missing**self.param.gamma * self.param.alpha

    def _of_labels(self, prob, classes):
        """(log p, 1 - p) of the labels, with 1 for the classes; neither is quite 0 below."""
        xp, tiny = self.xp, self.xp.finfo(prob.dtype).tiny
        p = xp.take_along_axis(prob, classes, axis=self.axis)
        return xp.log(xp.maximum(p, tiny)), xp.maximum(1 - p, tiny)
