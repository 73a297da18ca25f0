"""L1Loss (NVIDIA's DetectNet, FlowNet): sum(|a - b|) / N over bottoms of equal count and batch size N.

EuclideanLoss with absolute values in place of squares, and without its factor 1/2; both bottoms get a gradient, and a
single one is the difference itself.  FlowNet's fields: with l2_per_location the sum is of sqrt(sum over channels of
(a - b)^2 + epsilon), one for each pixel, with l2_prescale_by_channels of the mean over channels in that root; what is
smaller than plateau counts as 0; with normalize_by_num_entries N is how many pixels are known.  Unknown ones, NaN, are
as good as 0.

Source: the prototxts of NVIDIA's DetectNet and of FlowNet.
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import SchemaFault, ShapeFault


class L1Loss(LossLayer):
    type = "L1Loss"
    launches_only = True
    bottoms = (1, 2)
    never_differentiable = ()

    def infer(self, shapes):
        a, b = shapes[0], shapes[-1]
        if math.prod(a) != math.prod(b) or a[:1] != b[:1]:
            raise ShapeFault(f"the bottoms have shapes {a} and {b}: as many numbers for each item are needed")
        if self.spec.l1_loss_param.l2_per_location and len(a) < 2:
            raise ShapeFault(f"the first bottom has shape {a}: l2_per_location is over channels, its second axis")
        return [()]

    def forward(self, xs):
        xp, param = self.xp, self.spec.l1_loss_param
        apart = xs[0] - xs[1].reshape(xs[0].shape) if len(xs) > 1 else xs[0]
        count = max(len(apart), 1)
        if self.spec.HasField("l1_loss_param"):
            known = ~xp.isnan(apart)
            apart = xp.where(known, apart, 0)
            if param.normalize_by_num_entries:
                channels = apart.shape[1] if apart.ndim > 1 else 1
                count = xp.maximum(known.sum().astype(apart.dtype) / channels, 1)
        losses, slope = self._lengths(apart) if param.l2_per_location else self._distances(apart)
        if self.keep:
            self.saved = slope / count, [x.shape for x in xs]
        return [xp.asarray(losses.sum() / count, apart.dtype)]

    def backward(self, dys, need):
        slope, shapes = self.saved
        slope = slope * dys[0]
        return [
            (sign * slope).reshape(shape) if wanted else None
            for sign, shape, wanted in zip((1, -1), shapes, need, strict=False)
        ]

    def to_onnx(self, graph, xs):
        if self.spec.HasField("l1_loss_param"):
            raise SchemaFault("L1Loss with l1_loss_param is not translated")
        a, sizes = xs[0], graph.sizes(xs[0])
        apart = graph.node("Abs", a - graph.reshape(xs[1], sizes) if len(xs) > 1 else a)
        return [graph.sum(apart, range(len(sizes)), keep=False) / graph.scalar(graph.larger(sizes[0], 1))]

    def _distances(self, apart):
        """(what each number costs, its slope)."""
        xp, plateau = self.xp, self.spec.l1_loss_param.plateau
        losses, sign = xp.abs(apart), xp.sign(apart)
        if plateau <= 0:
            return losses, sign
        return losses * (losses >= plateau), sign * (losses >= plateau)

    def _lengths(self, apart):
        """(what each pixel costs, the slope of each number)."""
        param = self.spec.l1_loss_param
        share = 1 / apart.shape[1] if param.l2_prescale_by_channels else 1
        squares = share * self.xp.square(apart).sum(1, keepdims=True)
        counts = squares >= param.plateau**2
        lengths = self.xp.sqrt(squares * counts + param.epsilon)
        return lengths, apart * (counts / lengths * share)
