"""SigmoidCrossEntropyLoss: cross entropy of sigmoid(x) with targets between 0 and 1, each number on its own.

Divided by the batch size unless loss_param says otherwise.  A target counts as ignored when its whole part is
ignore_label: `ignore_label: 0` ignores 0.9 too, and -1 is the value to choose.  A third bottom (HAKE) holds a factor
for each number's loss.
"""

import math

from demitasse.layers.labels import check_targets, transposed
from demitasse.layers.layer import LossLayer
from demitasse.layers.onnx.labels import divisor
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import LossParameter


class SigmoidCrossEntropyLoss(LossLayer):
    type = "SigmoidCrossEntropyLoss"
    fields = ("loss_param",)
    bottoms = (2, 3)
    never_differentiable = (1, 2)

    def setup(self, shapes):
        param = self.spec.loss_param
        if param.class_weight or param.class_weighting or param.weight_by_label_freqs:
            raise SchemaFault("class weights count in SoftmaxWithLoss and InfogainLoss only: leave them out")
        return []

    def infer(self, shapes):
        check_targets(*shapes[:2])
        if len(shapes) > 2 and math.prod(shapes[2]) != math.prod(shapes[0]):
            raise ShapeFault(f"scores of shape {shapes[0]}, factors of shape {shapes[2]}: give one factor per score")
        return [()]

    def advice(self, shapes):
        return transposed(*shapes[:2])

    def forward(self, xs):
        xp, x, target, param = self.xp, xs[0], xs[1].reshape(xs[0].shape), self.spec.loss_param
        losses = xp.maximum(x, 0) - x * target + xp.log1p(xp.exp(-xp.abs(x)))
        valid = None
        if param.HasField("ignore_label"):
            valid = xp.trunc(target) != param.ignore_label
            losses *= valid
        factor = xs[2].reshape(x.shape) if len(xs) > 2 else None
        if factor is not None:
            losses *= factor
        outer = math.prod(x.shape[:1])
        inner = x.size // max(outer, 1)
        self.over = self.divisor(outer, inner, None if valid is None else int(valid.sum()), LossParameter.BATCH_SIZE)
        if self.keep:
            self.saved = x, target, [mask for mask in (valid, factor) if mask is not None]
        return [xp.asarray(losses.sum() / self.over, x.dtype)]

    def backward(self, dys, need):
        if not need[0]:
            return [None] * len(need)
        x, target, masks = self.saved
        dx = (self.be.sigmoid(x) - target) * (dys[0] / self.over)
        for mask in masks:
            dx = dx * mask
        return [dx, *[None] * (len(need) - 1)]

    def to_onnx(self, graph, xs):
        x, param = xs[0], self.spec.loss_param
        target = graph.reshape(xs[1], graph.sizes(x))
        losses = graph.clip(x, low=0.0) - x * target + graph.node("Softplus", -graph.node("Abs", x))
        valid = None
        if param.HasField("ignore_label"):
            ignored = graph.cast(target, "int64").equals(param.ignore_label)
            valid = graph.where(ignored, 0.0, 1.0)
            losses = losses * valid
        if len(xs) > 2:
            losses = losses * graph.reshape(xs[2], graph.sizes(x))
        total = graph.sum(losses, range(len(x.shape)), keep=False)
        n, *inner = graph.sizes(x)
        return [total / divisor(graph, self, n, math.prod(inner), valid, LossParameter.BATCH_SIZE)]
