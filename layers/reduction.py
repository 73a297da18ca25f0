"""Reduction: the sum, sum of absolute values, sum of squares or mean over all axes from `axis` on, times coeff."""

import math

from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.messages import ReductionParameter


class Reduction(Layer):
    type = "Reduction"
    launches_only = True

    def infer(self, shapes):
        (shape,) = shapes
        return [shape[: self._axis(shape)]]

    def forward(self, xs):
        xp, (x,), operation = self.xp, xs, self.spec.reduction_param.operation
        if self.keep:
            self.saved = x
        if operation == ReductionParameter.ASUM:
            x = xp.abs(x)
        elif operation == ReductionParameter.SUMSQ:
            x = xp.square(x)
        return [xp.asarray(x.sum(tuple(range(self._axis(x.shape), x.ndim))) * self._scale(x.shape), x.dtype)]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        xp, x, operation = self.xp, self.saved, self.spec.reduction_param.operation
        dy = (dys[0] * self._scale(x.shape)).reshape(dys[0].shape + (1,) * (x.ndim - dys[0].ndim))
        if operation == ReductionParameter.ASUM:
            return [dy * xp.sign(x)]
        if operation == ReductionParameter.SUMSQ:
            return [2 * dy * x]
        return [xp.ascontiguousarray(xp.broadcast_to(dy, x.shape))]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.spec.reduction_param
        axes = range(param.axis % len(x.shape), len(x.shape))
        if param.operation == ReductionParameter.ASUM:
            x = graph.node("Abs", x)
        elif param.operation == ReductionParameter.SUMSQ:
            x = x * x
        reduce = graph.mean if param.operation == ReductionParameter.MEAN else graph.sum
        return [reduce(x, axes, keep=False) * param.coeff]

    def _axis(self, shape):
        return axis_index(self.spec.reduction_param.axis, shape, "reduction_param.axis")

    def _scale(self, shape):
        """What sums are multiplied by."""
        param = self.spec.reduction_param
        count = max(math.prod(shape[self._axis(shape) :]), 1)
        return param.coeff / (count if param.operation == ReductionParameter.MEAN else 1)
