"""SmoothL1Loss (Fast R-CNN, SSD): quadratic for small differences, linear for large ones, summed and divided by N.

Bottoms: prediction and target, of one shape (N, ...) but for axes of size 1; then, both optional and of that shape,
weights of the differences (inside weights) and of the losses (outside weights).  With d = inside * (prediction -
target) a number's loss is outside * f(d), f(d) = (sigma * d)^2 / 2 where |d| < 1 / sigma^2, else
|d| - 1 / (2 * sigma^2).  Tops: a number; and, if named (Cascade R-CNN), the losses summed over the
channels, (N, 1, ...).
SSD's form is the one with 2 or 3 bottoms.  Prediction and target get gradients.
Source: "Fast R-CNN" (Girshick, 2015), equation 3.
"""

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import SchemaFault, ShapeFault


class SmoothL1Loss(LossLayer):
    type = "SmoothL1Loss"
    launches_only = True
    bottoms, tops = (2, 4), (1, 2)
    never_differentiable = (2, 3)

    def setup(self, shapes):
        sigma = self.spec.smooth_l1_loss_param.sigma
        if sigma <= 0:
            raise SchemaFault(f"smooth_l1_loss_param has sigma {sigma:g}: it must be above 0")
        self.square = sigma**2
        return []

    def infer(self, shapes):
        for i, shape in enumerate(shapes):
            if shape[:1] != shapes[0][:1] or [n for n in shape if n != 1] != [n for n in shapes[0] if n != 1]:
                raise ShapeFault(
                    f"bottom {i} has shape {shape}, but bottom 0 has {shapes[0]}: they must be equal, axes of 1 aside"
                )
        return [(), (shapes[0][0], 1, *shapes[0][2:])] if len(self.spec.top) > 1 else [()]

    def forward(self, xs):
        shape, xs = xs[1].shape, [x.reshape(xs[0].shape) for x in xs]
        difference, xp = self._weighted(xs[0] - xs[1], xs[2:3]), self.xp
        size = abs(difference)
        losses = xp.where(size < 1 / self.square, 0.5 * self.square * size**2, size - 0.5 / self.square)
        divisor = max(1, len(difference))
        if self.keep:
            slope = self._weighted(xp.clip(self.square * difference, -1, 1), xs[2:])
            self.saved = slope, divisor, shape
        losses = self._weighted(losses, xs[3:])
        return [losses.sum() / divisor, losses.sum(axis=1, keepdims=True)][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        slope, divisor, shape = self.saved
        scale = 0 if dys[0] is None else dys[0] / divisor
        if len(dys) > 1 and dys[1] is not None:
            scale = scale + dys[1]
        dx = slope * scale
        return [dx if need[0] else None, -dx.reshape(shape) if need[1] else None, *(None for _ in need[2:])]

    def to_onnx(self, graph, xs):
        shape = graph.sizes(xs[0])
        xs = [xs[0], *(graph.reshape(x, shape) for x in xs[1:])]
        difference = self._weighted(xs[0] - xs[1], xs[2:3])
        size, square = graph.node("Abs", difference), float(self.square)
        losses = graph.where(size < 1 / square, size * size * (0.5 * square), size - 0.5 / square)
        losses = self._weighted(losses, xs[3:])
        total = graph.sum(losses, range(len(shape)), keep=False) / graph.scalar(graph.larger(shape[0], 1))
        return [total, graph.sum(losses, [1])][: max(1, len(self.spec.top))]

    @staticmethod
    def _weighted(x, weights):
        for each in weights:
            x = x * each
        return x
