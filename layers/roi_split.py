"""ROISplit (SINet): tells regions of interest by their area, so that large and small ones may have layers of their own.

Bottom: rois (R, 5), a row (image, x1, y1, x2, y2).  Tops: how many regions each branch has, (branch_num, 1, 1, 1); and
for each region which of its branch it is, from 0 on, and its branch, from 1 on, smallest first: (R, 2, 1, 1).  A branch
begins at areas of split_area1, and with three branches the last above split_area2, in pixels.  In TRAIN a limit is
drawn for each region: with even chances below it by a normal number of deviation fluctuation_range_large / 3, and no
more than fluctuation_range_large, or above it by those of fluctuation_range_small.  Nothing gets a gradient.

Source: "SINet: A Scale-Insensitive Convolutional Neural Network for Fast Vehicle Detection" (Hu et al., 2018), III-C.
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class ROISplit(Layer):
    type = "ROISplit"
    tops = (2, 2)
    never_differentiable = (0,)

    def setup(self, shapes):
        param = self.spec.roi_split_param
        self.limits = [param.split_area1, param.split_area2][: param.branch_num - 1]
        if param.branch_num not in (2, 3) or self.limits != sorted(self.limits):
            raise SchemaFault(
                f"branch_num {param.branch_num}, split_area1 {param.split_area1}, split_area2 {param.split_area2}: two "
                "branches, or three with split_area2 above split_area1, are known"
            )
        return []

    def infer(self, shapes):
        (rois,) = shapes
        if len(rois) < 2 or math.prod(rois[1:]) != 5:
            raise ShapeFault(f"the bottom has shape {rois}: five numbers a region (image, x1, y1, x2, y2) are needed")
        return [(len(self.limits) + 1, 1, 1, 1), (rois[0], 2, 1, 1)]

    def forward(self, xs):
        xp, rois = self.xp, xs[0].reshape(-1, 5)
        area = (rois[:, 3] - rois[:, 1] + 1) * (rois[:, 4] - rois[:, 2] + 1)
        branch = xp.zeros(len(rois), "int64")
        for i, limit in enumerate(self.limits):
            drawn = self._drawn(limit, len(rois))
            branch += area > drawn if i else area >= drawn
        own = branch[:, None] == xp.arange(len(self.limits) + 1)
        place = (xp.cumsum(own, 0) * own).sum(1) - 1
        table = xp.stack([place, branch + 1], 1).astype(rois.dtype)
        return [own.sum(0).astype(rois.dtype).reshape(-1, 1, 1, 1), table.reshape(-1, 2, 1, 1)]

    def backward(self, dys, need):
        return [None]

    def _drawn(self, limit, count):
        """The limit, or in TRAIN one for each region."""
        param, rng, xp = self.spec.roi_split_param, self.be.rng, self.xp
        if not self.train:
            return limit
        size, down = abs(rng.standard_normal(count)), rng.random(count) < 0.5
        large, small = (
            xp.minimum(self.be.asarray(size) * (reach // 3), reach)
            for reach in (param.fluctuation_range_large, param.fluctuation_range_small)
        )
        return limit + xp.where(self.be.asarray(down).astype(bool), -large, small)
