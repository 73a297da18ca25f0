"""MultiLabelLoss: cross entropy of sigmoid(x) where a label says yes (above 0) or no (below), over the batch size.

Labels of 0 are not known, and count nothing.  A second top holds the probabilities.

Source: the prototxts and docs of the forks for several labels an image (BVLC's pull request 523).
"""

from demitasse.layers.labels import check_targets
from demitasse.layers.layer import LossLayer


class MultiLabelLoss(LossLayer):
    type = "MultiLabelLoss"
    launches_only = True
    tops = (1, 2)
    later_tops_send = False

    def infer(self, shapes):
        check_targets(*shapes)
        return [(), shapes[0]][: max(1, len(self.spec.top))]

    def forward(self, xs):
        xp, x, label = self.xp, xs[0], xs[1].reshape(xs[0].shape)
        known, target = label != 0, (label > 0).astype(x.dtype)
        losses = (xp.maximum(x, 0) - x * target + xp.log1p(xp.exp(-xp.abs(x)))) * known
        prob, over = self.be.sigmoid(x), max(1, len(x))
        if self.keep:
            self.saved = (prob - target) * known / over, prob
        return [xp.asarray(losses.sum() / over, x.dtype), prob][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        slope, prob = self.saved
        parts = [slope * dys[0]] if dys[0] is not None else []
        if len(dys) > 1 and dys[1] is not None:
            parts.append(dys[1] * prob * (1 - prob))
        return [sum(parts[1:], parts[0]), None]

    def to_onnx(self, graph, xs):
        x, label = xs[0], graph.reshape(xs[1], graph.sizes(xs[0]))
        sign = graph.node("Sign", label)
        losses = graph.node("Softplus", -(x * sign)) * graph.node("Abs", sign)
        sizes = graph.sizes(x)
        total = graph.sum(losses, range(len(sizes)), keep=False)
        loss = total / graph.scalar(graph.larger(sizes[0], 1))
        return [loss, graph.node("Sigmoid", x)][: max(1, len(self.spec.top))]
