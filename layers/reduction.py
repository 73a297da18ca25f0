"""Reduction: the sum, sum of absolute values, sum of squares or mean over all axes from `axis` on, times coeff."""

import math

from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.messages import ReductionParameter


class Reduction(Layer):
    type = "Reduction"

    def infer(self, shapes):
        (shape,) = shapes
        self.axis = axis_index(self.spec.reduction_param.axis, shape, "reduction_param.axis")
        count = max(math.prod(shape[self.axis :]), 1)
        mean = self.spec.reduction_param.operation == ReductionParameter.MEAN
        self.scale = self.spec.reduction_param.coeff / (count if mean else 1)
        return [shape[: self.axis]]

    def forward(self, xs):
        xp, (x,), operation = self.xp, xs, self.spec.reduction_param.operation
        if self.keep:
            self.saved = x
        if operation == ReductionParameter.ASUM:
            x = xp.abs(x)
        elif operation == ReductionParameter.SUMSQ:
            x = xp.square(x)
        return [xp.asarray(x.sum(tuple(range(self.axis, x.ndim))) * self.scale, x.dtype)]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        xp, x, operation = self.xp, self.saved, self.spec.reduction_param.operation
        dy = (dys[0] * self.scale).reshape(dys[0].shape + (1,) * (x.ndim - self.axis))
        if operation == ReductionParameter.ASUM:
            return [dy * xp.sign(x)]
        if operation == ReductionParameter.SUMSQ:
            return [2 * dy * x]
        return [xp.ascontiguousarray(xp.broadcast_to(dy, x.shape))]
