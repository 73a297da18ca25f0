"""ContrastiveLoss: pulls pairs of the same kind together, pushes others apart up to a margin.

Bottoms: a and b (N, C), same (N,), nonzero for a pair of the same kind.  With d the distance of a pair,
loss = sum(d^2 if same else max(0, margin - d)^2) / 2N; legacy_version has max(0, margin - d^2) for the latter.
With output_matches (MyCaffe) a second top (N, 1, 1, 1) has a 1 for each pair that is on its side of the margin.
"""

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault


class ContrastiveLoss(LossLayer):
    type = "ContrastiveLoss"
    bottoms, tops = (3, 3), (1, 2)
    never_differentiable = (2,)
    later_tops_send = False

    def setup(self, shapes):
        if len(self.spec.top) > 1 and not self.spec.contrastive_loss_param.output_matches:
            raise GraphFault("a second top, which pairs match, needs output_matches: true")
        return []

    def infer(self, shapes):
        a, b, same = shapes
        if a != b:
            raise ShapeFault(f"the two sides of the pairs have shapes {a} and {b}: they must be equal")
        if same[:1] != a[:1] or set(same[1:]) - {1}:
            raise ShapeFault(f"the third bottom has shape {same}: give one number per pair, shape ({a[0]},)")
        return [(), (a[0], 1, 1, 1)][: max(1, len(self.spec.top))]

    def forward(self, xs):
        xp, (a, b, same), param = self.xp, xs, self.spec.contrastive_loss_param
        apart = a - b
        column = (-1, *(1 for _ in a.shape[1:]))
        square = xp.square(apart).sum(tuple(range(1, a.ndim))).reshape(column)
        same = xp.trunc(same).reshape(column) != 0
        distance = xp.sqrt(square)
        gap = xp.maximum(param.margin - (square if param.legacy_version else distance), 0)
        losses = xp.where(same, square, gap if param.legacy_version else gap * gap)
        if self.keep:  # the slope of the loss along `apart`
            push = xp.sign(gap) if param.legacy_version else gap / (distance + 1e-4)  # Caffe's guard for equal pairs
            self.saved = apart * xp.where(same, 1, -push) / max(len(a), 1)
        loss = xp.asarray(losses.sum() / (2 * max(len(a), 1)), a.dtype)
        near = (square if param.legacy_version else distance) <= param.margin
        return [loss, (near == same).astype(a.dtype).reshape(len(a), 1, 1, 1)][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        if dys[0] is None:
            return [None, None, None]
        return [dys[0] * self.saved if need[0] else None, -dys[0] * self.saved if need[1] else None, None]

    def to_onnx(self, graph, xs):
        (a, b, same), param = xs, self.spec.contrastive_loss_param
        if len(self.spec.top) > 1:
            raise SchemaFault("the second top, which pairs match, has no translation to ONNX: take it out")
        apart, n = graph.node("Flatten", a - b, axis=1), graph.as_float(graph.size(a, 0))
        square = graph.sum(apart * apart, [1])
        same = graph.cast(graph.reshape(same, [-1, 1]), "int64").equals(0)
        gap = param.margin - (square if param.legacy_version else graph.node("Sqrt", square))
        gap = graph.clip(gap, low=0.0)
        losses = graph.where(same, gap if param.legacy_version else gap * gap, square)
        return [graph.sum(losses, [0, 1], keep=False) / graph.scalar(n * 2.0)]
