"""EuclideanLossHeatmap (caffe-heatmap): half the squared differences of two maps, divided by nothing.

Bottoms: maps and what they should be, of equal shape; and maybe the images, which the fork draws.  The fork shows the
mean of the squares, and its gradient, which is this loss's, pays no heed to loss_weight.

Source: "Flowing ConvNets for Human Pose Estimation in Videos" (Pfister et al., 2015), 3; the gradients of its fork.
"""

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import ShapeFault


class EuclideanLossHeatmap(LossLayer):
    type = "EuclideanLossHeatmap"
    bottoms = (2, 3)
    never_differentiable = (1, 2)
    launches_only = True

    def infer(self, shapes):
        if shapes[0] != shapes[1]:
            raise ShapeFault(f"the maps have shapes {shapes[0]} and {shapes[1]}: they must be equal")
        return [()]

    def forward(self, xs):
        xp, apart = self.xp, xs[0] - xs[1]
        if self.keep:
            self.saved = apart, len(xs)
        return [xp.asarray(xp.square(apart).sum() / 2, apart.dtype)]

    def backward(self, dys, need):
        apart, count = self.saved
        return [dys[0] * apart if need[0] else None, None, None][:count]
