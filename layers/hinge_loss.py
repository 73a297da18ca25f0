"""HingeLoss: sum over classes of max(0, 1 + score), with -score for the label's class, over the batch size.

Bottoms: scores (N, ...), every number of an item a class, and labels (N,).  norm: L2 squares each term.
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import ShapeFault
from demitasse.proto.messages import HingeLossParameter


class HingeLoss(LossLayer):
    type = "HingeLoss"

    def infer(self, shapes):
        scores, labels = shapes
        if not scores or math.prod(labels) != scores[0]:
            raise ShapeFault(f"scores of shape {scores} and labels of shape {labels}: give one label per item")
        return [()]

    def forward(self, xs):
        xp, x = self.xp, xs[0].reshape(len(xs[0]), math.prod(xs[0].shape[1:]))
        labels, _ = self.be.checked_labels(x.shape, xs[1].astype(int), 1, None)
        side = xp.where(xp.arange(x.shape[1]) == labels, -1, 1).astype(x.dtype)
        terms = xp.maximum(1 + side * x, 0)
        squared = self.spec.hinge_loss_param.norm == HingeLossParameter.L2
        if self.keep:  # the slope of the loss
            slope = side * (2 * terms if squared else terms > 0) / max(len(x), 1)
            self.saved = slope.reshape(xs[0].shape)
        return [xp.asarray((terms * terms if squared else terms).sum() / max(len(x), 1), x.dtype)]

    def backward(self, dys, need):
        return [dys[0] * self.saved if need[0] else None, None]

    def to_onnx(self, graph, xs):
        x = graph.node("Flatten", xs[0], axis=1)
        labels = graph.reshape(graph.cast(xs[1], "int64"), [-1, 1])
        own = labels.equals(graph.arange(math.prod(graph.sizes(xs[0])[1:])))
        terms = graph.clip(1.0 + graph.where(own, -x, x), low=0.0)
        if self.spec.hinge_loss_param.norm == HingeLossParameter.L2:
            terms = terms * terms
        return [graph.sum(terms, [0, 1], keep=False) / graph.scalar(graph.as_float(graph.size(xs[0], 0)))]
