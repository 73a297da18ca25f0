"""ROIPairPooling (HAKE): ROIPooling of the box around two regions that sees only what lies in one of them.

Bottoms: images (N, C, H, W) and two times rois (R, 5), a row (image, x1, y1, x2, y2) in pixels of the net's input; top
(R, C, pooled_h, pooled_w).  The box around regions r of both, in the image of the first, has cells as ROIPooling's; a
cell's value is the largest of its pixels inside one of the two regions, without their borders, and 0 where none is
above 0.  The rois get no gradient.

Source: "Pairwise Body-Part Attention for Recognizing Human-Object Interactions" (Fang et al., 2018), 3.2.
"""

from demitasse.layers.regions import RegionLayer, rounded
from demitasse.proto.errors import ShapeFault


class ROIPairPooling(RegionLayer):
    type = "ROIPairPooling"
    fields = ("roipair_pooling_param",)
    bottoms = (3, 3)
    never_differentiable = (1, 2)

    def setup(self, shapes):
        self.cell_counts = self.cells_of(self.spec.roipair_pooling_param, "roipair_pooling_param")
        return []

    def infer(self, shapes):
        x, *rois = shapes
        counts = [self.check_regions([x, shape]) for shape in rois]
        if counts[0] != counts[1]:
            raise ShapeFault(f"bottom 1 has {counts[0]} regions and bottom 2 {counts[1]}: each needs one to go with it")
        return [(counts[0], x[1], *self.cell_counts)]

    def forward(self, xs):
        xp, x, scale = self.xp, xs[0], self.spec.roipair_pooling_param.spatial_scale
        (image, first), (_, second) = (self.regions(rois, len(x)) for rois in xs[1:])
        first, second = rounded(xp, first * scale), rounded(xp, second * scale)
        around = xp.concatenate([xp.minimum(first[:, :2], second[:, :2]), xp.maximum(first[:, 2:], second[:, 2:])], 1)
        columns, rows = (self._windows(around, axis, x.shape) for axis in (0, 1))
        best, index = 0, -1
        for corners in (first, second):
            inside = (self._inside(windows, corners, axis) for axis, windows in ((1, rows), (0, columns)))
            y, pixel = self.be.region_max_forward(x, image, *inside)
            wins = y > best
            best, index = xp.where(wins, y, best), xp.where(wins, pixel, index)
        if self.keep:
            self.saved = index.astype(pixel.dtype), image, x.shape
        return [best.astype(x.dtype)]

    def backward(self, dys, need):
        return [self.be.region_max_backward(dys[0], *self.saved) if need[0] else None, None, None]

    def _windows(self, corners, axis, shape):
        """(R, cells, 2): the cells of columns (axis 0) or rows (1) of boxes."""
        first, last = corners[:, axis], corners[:, 2 + axis]
        begins, ends = self.cells(first, self.xp.maximum(last - first + 1, 1), self.cell_counts[1 - axis])
        start = first[:, None]
        return self.clipped(self.xp.floor(begins) + start, self.xp.ceil(ends) + start, shape[3 - axis])

    def _inside(self, windows, corners, axis):
        """What of the windows lies between the first and the last pixel of a region."""
        first, end = corners[:, axis, None] + 1, corners[:, 2 + axis, None]
        low, high = self.xp.maximum(windows[..., 0], first), self.xp.minimum(windows[..., 1], end)
        return self.xp.stack([low, self.xp.maximum(low, high)], -1).astype(windows.dtype)
