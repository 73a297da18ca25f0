"""Accuracy: the share of pixels or items whose label is among the `top_k` highest scores; it has no gradient.

A pixel is right if fewer than top_k other classes score at least as much as the label, so that equal scores are
wrong.  A second top holds the accuracy of each class (0 for a class without pixels).
"""

from demitasse.layers.labels import check_labels, transposed
from demitasse.layers.layer import Layer, axis_index
from demitasse.layers.onnx.labels import onnx_labels
from demitasse.proto.errors import SchemaFault


class Accuracy(Layer):
    type = "Accuracy"
    ignores = "accuracy_param"
    bottoms = (2, 2)
    tops = (1, 2)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        param = self.spec.accuracy_param
        self.axis = axis_index(param.axis, shapes[0])
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        classes = shapes[0][self.axis]
        if not 1 <= param.top_k <= classes:
            raise SchemaFault(f"top_k {param.top_k} is not between 1 and the {classes} classes")
        return []

    def infer(self, shapes):
        scores, labels = shapes
        check_labels(scores, labels, self.axis)
        return [(), (scores[self.axis],)][: max(1, len(self.spec.top))]

    def advice(self, shapes):
        return transposed(shapes[0], shapes[1], self.axis)

    def forward(self, xs):
        xp, scores = self.xp, xs[0]
        labels, valid = self.be.checked_labels(scores.shape, xs[1].astype("int32"), self.axis, self.ignore)
        own = xp.take_along_axis(scores, labels, axis=self.axis)
        as_high = (scores >= own).sum(axis=self.axis, keepdims=True) - 1  # besides the label itself
        right = valid & (as_high < self.spec.accuracy_param.top_k)
        tops = [self.be.asarray(right.sum() / xp.maximum(valid.sum(), 1))]
        if len(self.spec.top) > 1:
            classes = scores.shape[self.axis]
            counts, hits = (xp.bincount(labels[chosen], minlength=classes) for chosen in (valid, right))
            tops.append(self.be.asarray(hits / xp.maximum(counts, 1)))
        return tops

    def to_onnx(self, graph, xs):
        scores, labels = xs
        labels, valid = onnx_labels(graph, scores, labels, self.axis, self.ignore)
        own = graph.node("GatherElements", scores, labels, axis=self.axis)
        as_high = graph.sum(graph.cast(scores >= own, "float32"), [self.axis]) - 1.0  # besides the label itself
        hits = graph.cast(as_high < float(self.spec.accuracy_param.top_k), "float32") * valid
        tops = [(hits, valid, range(len(scores.shape)))]
        if len(self.spec.top) > 1:
            classes = graph.reshape(
                graph.arange(graph.size(scores, self.axis)), [-1, *[1] * len(scores.shape[self.axis + 1 :])]
            )
            own = graph.cast(labels.equals(classes), "float32")
            others = [axis for axis in range(len(scores.shape)) if axis != self.axis]
            tops.append((hits * own, valid * own, others))
        return [
            graph.sum(right, axes, keep=False) / graph.clip(graph.sum(counts, axes, keep=False), low=1.0)
            for right, counts, axes in tops
        ]
