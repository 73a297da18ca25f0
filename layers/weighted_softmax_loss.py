"""WeightedSoftmaxWithLoss: SoftmaxWithLoss in which labels of one class, or some pixels, count more than others.

Two bottoms: the loss of pixels of class pos_cid is multiplied by pos_mult (both of softmax_param).  A third bottom
holds a factor for each label instead.  The divisor is that of SoftmaxWithLoss: it counts pixels, not their factors.

Source: the fields and bottoms of nets from forks for segmentation, among them caffe-adas.
"""

import math

from demitasse.layers.softmax_loss import SoftmaxWithLoss
from demitasse.proto.errors import SchemaFault, ShapeFault


class WeightedSoftmaxWithLoss(SoftmaxWithLoss):
    type = "WeightedSoftmaxWithLoss"
    bottoms = (2, 3)
    launches_only = takes_softmax = False
    never_differentiable = (1, 2)

    def setup(self, shapes):
        super().setup(shapes)
        param, classes = self.spec.softmax_param, shapes[0][self.axis]
        self.each = len(shapes) > 2
        if not self.each and param.HasField("pos_mult"):
            if not 0 <= param.pos_cid < classes:
                raise SchemaFault(f"softmax_param: pos_cid {param.pos_cid} is none of the {classes} classes from 0 on")
            self.weights = self.weights or [1.0] * classes
            self.weights[param.pos_cid] *= param.pos_mult
        return []

    def infer(self, shapes):
        if len(shapes) > 2 and math.prod(shapes[1]) != math.prod(shapes[2]):
            raise ShapeFault(f"the bottoms have shapes {shapes}: as many factors as labels are expected")
        return super().infer(shapes[:2])

    def forward(self, xs):
        if not self.each:
            return super().forward(xs)
        xp, scores, labels, weights = self.xp, xs[0], xs[1].astype("int32"), self._weights()
        places = self._places(scores.shape)
        prob, _, valid = self.be.softmax_loss_forward(scores, labels, self.axis, self.ignore, weights)
        classes, counts = self.be.checked_labels(scores.shape, labels, self.axis, self.ignore)
        classes, counts = classes.reshape(places), counts.reshape(places)
        factors = xp.where(counts, xs[2].reshape(places), 0)
        losses = -xp.log(xp.maximum(xp.take_along_axis(prob, classes, self.axis), xp.finfo(prob.dtype).tiny)) * factors
        if weights is not None:
            losses = losses * weights[classes]
        divisor = self.divisor(math.prod(places[: self.axis]), math.prod(places[self.axis :]), valid)
        if self.keep:
            self.saved, self.factors = (prob, labels, divisor), factors
        self.seen = scores.shape, labels
        return [losses.sum() / divisor, prob][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        if not self.each or not need[0]:
            return [*super().backward(dys, need[:2]), None][: len(need)]
        parts = []
        if dys[0] is not None:
            parts.append(super().backward(dys[:1], need[:2])[0] * self.factors)
        if len(dys) > 1 and dys[1] is not None:
            parts.append(super().backward([None, dys[1]], need[:2])[0])
        return [sum(parts[1:], parts[0]), None, None]

    def to_onnx(self, graph, xs):
        sizes = graph.sizes(xs[0])
        self.told = graph.reshape(xs[2], [*sizes[: self.axis], 1, *sizes[self.axis + 1 :]]) if self.each else None
        return super().to_onnx(graph, xs[:2])

    def onnx_term(self, graph, log_p):
        return log_p if self.told is None else log_p * self.told

    def _places(self, shape):
        return (*shape[: self.axis], 1, *shape[self.axis + 1 :])
