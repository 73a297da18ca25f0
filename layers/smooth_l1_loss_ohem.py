"""SmoothL1LossOHEM (R-FCN): SmoothL1Loss with sigma 1, which can also tell the loss of each item.

Bottoms: prediction and target (N, C, ...), of one shape but for axes of size 1, and optionally weights of that shape,
by which their differences are multiplied.  Tops: the sum of all losses over what loss_param says (VALID and FULL: N
times the places of an item, BATCH_SIZE: N, PRE_FIXED: pre_fixed_normalizer, NONE: 1; never less than 1); and, if named,
the sums over the channels, (N, 1, ...), for BoxAnnotatorOHEM to choose by.
Source: "R-FCN" (Dai et al., 2016), 2.2; "Training Region-based Object Detectors with Online Hard Example Mining"
(Shrivastava et al., 2016).
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import SchemaFault, ShapeFault


class SmoothL1LossOHEM(LossLayer):
    type = "SmoothL1LossOHEM"
    fields = ("loss_param",)
    bottoms, tops = (2, 3), (1, 2)
    later_tops_send = False
    never_differentiable = (2,)

    def setup(self, shapes):
        labels = "ignore_label", "class_weight", "class_weighting", "weight_by_label_freqs"
        for field, _ in self.spec.loss_param.ListFields():
            if field.name in labels:
                raise SchemaFault(f"{field.name} is about labels, and this loss has none: leave it out")
        return []

    def infer(self, shapes):
        for i, shape in enumerate(shapes):
            same = shape[:1] == shapes[0][:1] and [n for n in shape if n != 1] == [n for n in shapes[0] if n != 1]
            if not same or len(shape) < 2:
                raise ShapeFault(
                    f"bottom {i} has shape {shape}, but bottom 0 has {shapes[0]}: they must be equal, axes of 1 aside, "
                    "with two axes or more (items, channels)"
                )
        return [(), (shapes[0][0], 1, *shapes[0][2:])][: max(1, len(self.spec.top))]

    def forward(self, xs):
        shape, xs = xs[1].shape, [x.reshape(xs[0].shape) for x in xs]
        difference = xs[0] - xs[1]
        weight = xs[2] if len(xs) > 2 else None
        if weight is not None:
            difference = difference * weight
        size = abs(difference)
        losses = self.xp.where(size < 1, 0.5 * size**2, size - 0.5)
        divisor = self.divisor(len(size), math.prod(size.shape[2:]))
        if self.keep:
            slope = self.xp.clip(difference, -1, 1)
            self.saved = slope if weight is None else slope * weight, divisor, shape
        return [losses.sum() / divisor, losses.sum(axis=1, keepdims=True)][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        slope, divisor, shape = self.saved
        scale = 0 if dys[0] is None else dys[0] / divisor
        if len(dys) > 1 and dys[1] is not None:
            scale = scale + dys[1]
        dx = slope * scale
        return [dx if need[0] else None, -dx.reshape(shape) if need[1] else None, *(None for _ in need[2:])]
