"""MultinomialLogisticLoss: -log(probability of the label), averaged over the batch; the bottom holds probabilities.

Bottoms: probabilities (N, ...), every number of an item a class, and labels (N,).  SoftmaxWithLoss is the same
of scores, and safer: here a probability is taken as at least 1e-20, in the gradient too.
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import ShapeFault

MIN_PROBABILITY = 1e-20


class MultinomialLogisticLoss(LossLayer):
    type = "MultinomialLogisticLoss"

    def infer(self, shapes):
        probabilities, labels = shapes
        if not probabilities or math.prod(labels) != probabilities[0]:
            raise ShapeFault(
                f"probabilities of shape {probabilities} and labels of shape {labels}: give one label per item"
            )
        return [()]

    def forward(self, xs):
        xp, x = self.xp, xs[0].reshape(len(xs[0]), math.prod(xs[0].shape[1:]))
        labels, _ = self.be.checked_labels(x.shape, xs[1].astype(int), 1, None)
        picked = xp.maximum(xp.take_along_axis(x, labels, axis=1), MIN_PROBABILITY)
        if self.keep:  # the slope of the loss
            slope = (xp.arange(x.shape[1]) == labels) / (-picked * max(len(x), 1))
            self.saved = slope.reshape(xs[0].shape)
        return [xp.asarray(-xp.log(picked).sum() / max(len(x), 1), x.dtype)]

    def backward(self, dys, need):
        return [dys[0] * self.saved if need[0] else None, None]

    def to_onnx(self, graph, xs):
        x = graph.node("Flatten", xs[0], axis=1)
        labels = graph.reshape(graph.cast(xs[1], "int64"), [-1, 1])
        picked = graph.clip(graph.node("GatherElements", x, labels, axis=1), low=MIN_PROBABILITY)
        total = graph.sum(graph.node("Log", picked), [0, 1], keep=False)
        return [-total / graph.scalar(graph.as_float(graph.size(xs[0], 0)))]
