"""SegAccuracy (DeepLab): how well scores label pixels: pixel accuracy, mean accuracy of classes, mean intersection over
union.

Bottoms: scores (N, C, H, W), labels (N, 1, H, W) or (N, H, W).  Top: the three measures, (1, 1, 1, 3), from the counts
of this batch, or with `reset: false` of all batches so far.  Pixels of seg_accuracy_param's ignore_label do not count,
nor do classes that are neither there nor found.

Source: measures of "Fully convolutional networks for semantic segmentation" (Long et al., 2015).
"""

from demitasse.layers.labels import check_labels
from demitasse.layers.layer import Layer
from demitasse.layers.onnx.graph import FLOAT, INT
from demitasse.proto.errors import ShapeFault


class SegAccuracy(Layer):
    type = "SegAccuracy"
    bottoms = (2, 2)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        self.counts = None
        return []

    def infer(self, shapes):
        scores, labels = shapes
        if len(scores) != 4:
            raise ShapeFault(f"the scores have shape {scores}: (N, C, height, width) expected")
        check_labels(scores, labels, 1)
        return [(1, 1, 1, 3)]

    def forward(self, xs):
        xp, (scores, labels), param = self.xp, xs, self.spec.seg_accuracy_param
        classes, found = scores.shape[1], scores.argmax(1).reshape(-1)
        labels = labels.reshape(-1).astype(int)
        there = (labels >= 0) & (labels < classes)
        for label in param.ignore_label:
            there &= labels != label
        pairs = xp.where(there, labels * classes + found, classes * classes)
        counts = xp.bincount(pairs, minlength=classes * classes + 1)[:-1].reshape(classes, classes)
        if not param.reset:
            self.counts = counts if self.counts is None else self.counts + counts
            counts = self.counts
        right, of_class, of_answer = counts.diagonal(), counts.sum(1), counts.sum(0)
        union = of_class + of_answer - right
        pixel = right.sum() / xp.maximum(counts.sum(), 1)
        recall = (right / xp.maximum(of_class, 1)).sum() / xp.maximum((of_class > 0).sum(), 1)
        overlap = (right / xp.maximum(union, 1)).sum() / xp.maximum((union > 0).sum(), 1)
        return [xp.stack([pixel, recall, overlap]).astype(scores.dtype).reshape(1, 1, 1, 3)]

    def backward(self, dys, need):
        return [None, None]

    def to_onnx(self, graph, xs):
        """Of this batch alone: the counts of those before it are not part of a graph."""
        (scores, labels), ignored = xs, self.spec.seg_accuracy_param.ignore_label
        classes = scores.shape[1]
        numbers = graph.constant(range(classes), INT)
        found = graph.node("ArgMax", scores, axis=1, keepdims=0, dtype=INT)
        found, labels = (graph.reshape(each, [-1, 1]) for each in (found, graph.cast(labels, INT)))
        of_answer, of_class = (graph.cast(each.equals(numbers), FLOAT) for each in (found, labels))
        for label in ignored:
            of_class = of_class * graph.where(labels.equals(label), 0.0, 1.0)
        counts = graph.node("MatMul", graph.transpose(of_class, [1, 0]), of_answer)
        right = graph.sum(
            counts * graph.constant([[i == j for j in range(classes)] for i in range(classes)]), [1], keep=False
        )
        of_class, of_answer = (graph.sum(counts, [axis], keep=False) for axis in (1, 0))
        union = of_class + of_answer - right

        def share(part, whole):
            return graph.sum(part, [0]) / graph.clip(graph.sum(whole, [0]), 1.0)

        def mean(whole):
            return share(right / graph.clip(whole, 1.0), graph.where(whole > 0.0, 1.0, 0.0))

        measures = [share(right, of_class), mean(of_class), mean(union)]
        return [graph.reshape(graph.concat(measures, 0), [1, 1, 1, 3])]
