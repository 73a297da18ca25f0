"""MVN: mean-variance normalisation, y = (x - mean) / (standard deviation + eps), of each plane of each item.

across_channels: of each item as a whole.  normalize_variance: false leaves the mean subtraction alone.
"""

import math

from demitasse.layers.layer import Layer


class MVN(Layer):
    type = "MVN"
    launches_only = True
    in_place = True

    def forward(self, xs):
        xp, x, param = self.xp, self._rows(xs[0]), self.spec.mvn_param
        n = max(x.shape[1], 1)
        y, spread = x - x.sum(1, keepdims=True) / n, None
        if param.normalize_variance:
            spread = xp.sqrt(xp.square(y).sum(1, keepdims=True) / n) + param.eps
            y /= spread
        if self.keep:
            self.saved = y, spread
        return [y.reshape(xs[0].shape)]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        (y, spread), dy = self.saved, self._rows(dys[0])
        n = max(dy.shape[1], 1)
        dx = dy - dy.sum(1, keepdims=True) / n
        if spread is not None:  # eps is so small that Caffe leaves it out of the derivative
            dx -= y * ((dy * y).sum(1, keepdims=True) / n)
            dx /= spread
        return [dx.reshape(dys[0].shape)]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.spec.mvn_param
        axes = range(1 if param.across_channels else 2, len(x.shape))
        y = x - (graph.mean(x, axes) if axes else x)
        if not param.normalize_variance:
            return [y]
        square = y * y
        return [y / (graph.node("Sqrt", graph.mean(square, axes) if axes else square) + param.eps)]

    def _rows(self, x):
        """x as a matrix whose rows are normalised."""
        axes = 1 if self.spec.mvn_param.across_channels else 2
        return x.reshape(math.prod(x.shape[:axes]), math.prod(x.shape[axes:]))
