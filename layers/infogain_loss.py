"""InfogainLoss: softmax, then the loss -sum_k H[label, k] * log(p_k): mistakes cost what the matrix H says.

Bottoms: scores, labels (one per pixel of the scores without `axis`) and H, C x C numbers for C classes, unless
`source` names its file (.binaryproto or .npy).  Ignored labels, divisor and class_weight are as in SoftmaxWithLoss;
a second top holds the probabilities.
"""

import math

from demitasse.layers.data.files import require_file
from demitasse.layers.labels import check_labels, transposed
from demitasse.layers.layer import LossLayer, axis_index
from demitasse.layers.onnx.labels import around, divisor, onnx_labels
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.weights import read_blob

MIN_PROBABILITY = 1e-20  # probabilities are taken as at least this in the logarithm


class InfogainLoss(LossLayer):
    type = "InfogainLoss"
    ignores = "loss_param"
    later_tops_send = False
    fields = ("loss_param",)
    bottoms, tops = (2, 3), (1, 2)
    never_differentiable = (1, 2)

    def setup(self, shapes):
        source = self.spec.infogain_loss_param.source
        if len(shapes) == 2 and not source:
            raise SchemaFault(
                "no infogain matrix: give it as third bottom or as infogain_loss_param.source (a .binaryproto or .npy)"
            )
        if len(shapes) == 2:
            require_file(source, "infogain_loss_param: source")
            self.matrix = read_blob(source)
        self.weights = self.class_weights(shapes[0][self._axis(shapes[0])])
        return []

    def infer(self, shapes):
        scores, labels = shapes[:2]
        axis = self._axis(scores)
        check_labels(scores, labels, axis)
        classes = scores[axis]
        self.class_weights(classes)
        given = shapes[2] if len(shapes) > 2 else self.matrix.shape
        if math.prod(given) != classes * classes:
            raise ShapeFault(f"the infogain matrix has shape {given}: {classes} classes need {classes} x {classes}")
        return [(), scores][: max(len(self.spec.top), 1)]

    def advice(self, shapes):
        return transposed(shapes[0], shapes[1], self._axis(shapes[0]))

    def forward(self, xs):
        xp, x, param = self.xp, xs[0], self.spec.loss_param
        axis = self._axis(x.shape)
        matrix = xs[2] if len(xs) > 2 else self.be.asarray(self.matrix)
        matrix = matrix.reshape(x.shape[axis], x.shape[axis])
        if self.weights:
            matrix = matrix * self.be.asarray(self.weights)[:, None]
        ignore = param.ignore_label if param.HasField("ignore_label") else None
        labels, valid = self.be.checked_labels(x.shape, xs[1].astype(int), axis, ignore)
        rows = xp.moveaxis(matrix[labels.squeeze(axis)], -1, axis) * valid  # at each pixel, H[label]
        prob = self.be.softmax_forward(x, axis)
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        divisor = self.divisor(outer, inner, None if ignore is None else int(valid.sum()))
        if self.keep:
            self.saved = prob, rows, axis, divisor
        loss = -(rows * xp.log(xp.maximum(prob, MIN_PROBABILITY))).sum() / divisor
        return [xp.asarray(loss, x.dtype), prob][: max(len(self.spec.top), 1)]

    def backward(self, dys, need):
        nothing = [None] * (len(need) - 1)
        if not need[0]:
            return [None, *nothing]
        prob, rows, axis, divisor = self.saved
        dx = self.be.zeros(prob.shape)
        if dys[0] is not None:
            dx += (prob * rows.sum(axis, keepdims=True) - rows) * (dys[0] / divisor)
        if len(dys) > 1 and dys[1] is not None:
            dx += self.be.softmax_backward(dys[1], prob, axis)
        return [dx, *nothing]

    def to_onnx(self, graph, xs):
        x, param = xs[0], self.spec.loss_param
        axis = self.spec.infogain_loss_param.axis % len(x.shape)
        classes = x.shape[axis]
        matrix = xs[2] if len(xs) > 2 else graph.constant(self.matrix)
        matrix = graph.reshape(matrix, [classes, classes])
        if weights := self.class_weights(classes):
            matrix = matrix * graph.constant([[weight] for weight in weights])
        ignore = param.ignore_label if param.HasField("ignore_label") else None
        labels, valid = onnx_labels(graph, x, xs[1], axis, ignore)
        flat = graph.node("Squeeze", labels, graph.constant([axis], "int64"))
        axes = len(x.shape) - 1  # the rows' classes come last and belong at `axis`
        rows = graph.transpose(graph.gather(matrix, flat, 0), [*range(axis), axes, *range(axis, axes)]) * valid
        prob = graph.node("Softmax", x, axis=axis)
        terms = rows * graph.node("Log", graph.clip(prob, low=MIN_PROBABILITY))
        total = graph.sum(terms, range(len(x.shape)), keep=False)
        over = divisor(graph, self, *around(graph, x, axis), None if ignore is None else valid)
        return [-total / over, prob][: max(len(self.spec.top), 1)]

    def _axis(self, scores):
        """Where the classes lie."""
        return axis_index(self.spec.infogain_loss_param.axis, scores, "infogain_loss_param.axis")
