"""YoloSeg (YOLO): cross entropy of sigmoids with maps of what is to be segmented beside YOLO's boxes.

Bottoms: scores (N, C, H, W), maps of the same shape, 1 where a class is and 0 elsewhere, and if it is there the pixels
of each class in each image, (N, C).  Top: the sum of the cross entropies, each times object_scale, over N; with the
third bottom a pixel of class c counts 2 - (its pixels / all others in the batch) times as much.  (The fork shows the
sum of the squared gradients instead; its gradients are these.)
Source: eric612's MobileNet-YOLO.
"""

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import ShapeFault


class YoloSeg(LossLayer):
    type = "YoloSeg"
    bottoms = (2, 3)
    never_differentiable = (1, 2)

    def infer(self, shapes):
        scores, maps = shapes[:2]
        if len(scores) != 4 or maps != scores:
            raise ShapeFault(f"scores {scores} and maps {maps} (bottoms 0 and 1) must have one shape, (N, C, H, W)")
        if shapes[2:] and shapes[2] != scores[:2]:
            raise ShapeFault(f"bottom 2 has shape {shapes[2]}: the pixels of each class, {scores[:2]}, are expected")
        return [()]

    def forward(self, xs):
        xp, (x, wanted), scale = self.xp, xs[:2], self.spec.yolo_seg_param.object_scale
        weights = scale
        if len(xs) > 2:
            own = xs[2].sum(axis=0)
            others = len(x) * x.shape[2] * x.shape[3] - own
            share = own / xp.where(others > 0, others, 1)
            weights = scale * xp.where(wanted > 0.5, 2 - share[:, None, None], 1)
        losses = xp.maximum(x, 0) - wanted * x + xp.log1p(xp.exp(-xp.abs(x)))
        count = max(1, len(x))
        if self.keep:
            self.saved = weights * (0.5 * (1 + xp.tanh(0.5 * x)) - wanted) / count
        return [self.be.asarray((weights * losses).sum() / count)]

    def backward(self, dys, need):
        return [dys[0] * self.saved if need[0] else None] + [None] * (len(need) - 1)
