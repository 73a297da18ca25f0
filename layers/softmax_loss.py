"""SoftmaxWithLoss: softmax over the classes (`axis`), then the mean of -log(probability of the label).

Bottom 0 holds scores, bottom 1 labels: one for each pixel of bottom 0, truncated to whole numbers.  A pixel labelled
`ignore_label` counts nothing; any other label outside the classes is a LabelFault.  The sum is divided by the number
of pixels that count (VALID), of all pixels (FULL), of images (BATCH_SIZE) or by 1 (NONE), but by no less than 1.
`class_weight`, one number per class, multiplies the loss of each pixel by its label's weight; the divisor stays.
A second top holds the probabilities.
"""

import math

from demitasse.layers.labels import check_labels, transposed
from demitasse.layers.layer import LossLayer, axis_index
from demitasse.layers.onnx.labels import around, divisor, onnx_labels
from demitasse.proto.errors import ShapeFault

LOG_MIN_PROBABILITY = math.log(1.17549435e-38)  # of the smallest probability that a loss is told of


class SoftmaxWithLoss(LossLayer):
    type = "SoftmaxWithLoss"
    launches_only = True
    takes_softmax = True
    ignores = "loss_param"
    later_tops_send = False
    fields = ("softmax_param", "loss_param")
    tops = (1, 2)

    def setup(self, shapes):
        param = self.spec.loss_param
        self.axis = axis_index(self.spec.softmax_param.axis, shapes[0])
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        self.weights, self.weights_on_device = self.class_weights(shapes[0][self.axis]), None
        return []

    def infer(self, shapes):
        scores, labels = shapes
        check_labels(scores, labels, self.axis)
        if labels[:1] != scores[:1] and self.axis > 0:
            raise ShapeFault(f"{scores[0]} images of scores, but {labels[0] if labels else 1} of labels")
        return [(), scores][: max(1, len(self.spec.top))]

    def advice(self, shapes):
        return transposed(shapes[0], shapes[1], self.axis)

    def forward(self, xs):
        scores, labels = xs[0], xs[1].astype("int32")
        prob, loss, valid = self.be.softmax_loss_forward(scores, labels, self.axis, self.ignore, self._weights())
        outer, inner = math.prod(scores.shape[: self.axis]), math.prod(scores.shape[self.axis + 1 :])
        divisor = self.divisor(outer, inner, valid)
        if self.keep:
            self.saved = prob, labels, divisor
        self.seen = scores.shape, labels  # for check
        return [self.be.asarray(loss / divisor), prob][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        prob, labels, divisor = self.saved
        dx = None
        if dys[0] is not None:
            dx = self.be.softmax_loss_backward(prob, labels, self.axis, self.ignore, dys[0] / divisor, self._weights())
        if len(dys) > 1 and dys[1] is not None:
            through_prob = self.be.softmax_backward(dys[1], prob, self.axis)
            dx = through_prob if dx is None else dx + through_prob
        return [dx, None]

    def to_onnx(self, graph, xs):
        scores, axis = xs[0], self.axis
        labels, valid = onnx_labels(graph, scores, xs[1], axis, self.ignore)
        least = graph.clip(graph.node("LogSoftmax", scores, axis=axis), low=LOG_MIN_PROBABILITY)
        terms = self.onnx_term(graph, graph.node("GatherElements", least, labels, axis=axis)) * valid
        if self.weights:
            terms = terms * graph.gather(graph.constant(self.weights), labels, 0)
        total = graph.sum(terms, range(len(scores.shape)), keep=False)
        loss = -total / divisor(graph, self, *around(graph, scores, axis), valid)
        return [loss, graph.node("Softmax", scores, axis=axis)][: max(1, len(self.spec.top))]

    def onnx_term(self, graph, log_p):
        """Minus a pixel's loss, of the logarithm of its label's probability."""
        return log_p

    def check(self):
        shape, labels = self.seen
        self.be.checked_labels(shape, labels, self.axis, self.ignore)

    def _weights(self):
        if self.weights and self.weights_on_device is None:
            self.weights_on_device = self.be.asarray(self.weights)
        return self.weights_on_device
