"""LRN: local response normalisation, across neighbouring channels or within a square of each channel.

    ACROSS_CHANNELS   y = x / (k + alpha / local_size * sum of x^2 over local_size channels) ^ beta
    WITHIN_CHANNEL    y = x / (1 + alpha * mean of x^2 over local_size x local_size pixels) ^ beta

The mean counts pixels beyond the edge as zeros; `k` belongs to ACROSS_CHANNELS only.
"""

from demitasse.layers.backend.geometry import PoolGeometry
from demitasse.layers.layer import SAME_COORDS, Layer
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import LRNParameter


class LRN(Layer):
    type = "LRN"
    launches_only = True

    @property
    def takes_nhwc(self):
        return not (self.keep or self.within)

    def setup(self, shapes):
        param = self.spec.lrn_param
        self.within = param.norm_region == LRNParameter.WITHIN_CHANNEL
        if param.local_size % 2 == 0:
            raise SchemaFault(f"local_size {param.local_size} is even: it must be odd, to have a middle")
        return []

    def infer(self, shapes):
        (shape,) = shapes
        if self.within and len(shape) != 4:
            raise ShapeFault(f"the bottom has shape {shape}: WITHIN_CHANNEL takes 4 axes (N, C, height, width)")
        if len(shape) < 2:
            raise ShapeFault(f"the bottom has shape {shape}: channels, axis 1, are missing")
        return [shape]

    def forward(self, xs):
        (x,), param = xs, self.spec.lrn_param
        if self.within:
            scale = 1 + param.alpha * self.be.ave_pool_forward(x * x, self._geometry(x))
            y = x * scale**-param.beta
        else:
            y, scale = self.be.lrn_forward(x, param.local_size, param.alpha, param.beta, param.k)
        if self.keep:
            self.saved = x, y, scale
        return [y]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        (dy,), (x, y, scale), param = dys, self.saved, self.spec.lrn_param
        if not self.within:
            return [self.be.lrn_backward(dy, x, y, scale, param.local_size, param.alpha, param.beta)]
        through_mean = self.be.ave_pool_backward(dy * y / scale, self._geometry(x), x.shape[2:])
        return [dy * scale**-param.beta - (2 * param.alpha * param.beta) * x * through_mean]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.spec.lrn_param
        n, alpha, beta = param.local_size, param.alpha, param.beta
        if self.within:
            window = {"kernel_shape": [n, n], "strides": [1, 1], "pads": [n // 2] * 4, "count_include_pad": 1}
            mean = graph.node("AveragePool", x * x, **window)
            return [x / (1.0 + alpha * mean) ** beta]
        images = x if len(x.shape) == 4 else graph.reshape(x, [*graph.sizes(x)[:2], -1, 1])
        y = graph.node("LRN", images, size=n, alpha=alpha, beta=beta, bias=param.k)
        return [y if images is x else graph.reshape(y, graph.sizes(x))]

    def coords(self):
        return SAME_COORDS

    def _geometry(self, x):
        size = self.spec.lrn_param.local_size
        return PoolGeometry((size, size), (1, 1), (size // 2, size // 2), x.shape[2:])
