"""ROIGrid (Cascade R-CNN, which calls it ROIAlign): bilinear samples at the corners of a region's cells.

Bottoms: images (N, C, H, W) and rois (R, 5), a row (image, x1, y1, x2, y2) in pixels of the net's input; top
(R, C, pooled_h + 1, pooled_w + 1), which a 2x2 pooling averages to cells.  A region grows on each side by pad_ratio of
its sides; its corners times `spatial_scale` are points of a plane in which pixel (0, 0) has its middle at (0.5, 0.5).
Points outside the image, and all of a region without area, give 0.  The rois get no gradient.
An ROIAlign whose roi_pooling_param has a pad_ratio is upgraded to it.

Source: "Cascade R-CNN: Delving into high quality object detection" (Cai and Vasconcelos, 2018); its prototxts.
"""

from demitasse.layers.regions import RegionLayer


class ROIGrid(RegionLayer):
    type = "ROIGrid"
    fields = ("roi_pooling_param",)

    def setup(self, shapes):
        self.cell_counts = self.cells_of(self.spec.roi_pooling_param, "roi_pooling_param")
        return []

    def infer(self, shapes):
        return [(self.check_regions(shapes), shapes[0][1], *(count + 1 for count in self.cell_counts))]

    def forward(self, xs):
        x, rois = xs
        image, corners = self.regions(rois, len(x))
        neighbours = self._neighbours(corners, x.shape[2:])
        y = sum(x[image[:, None, None], :, row, column] * weight[..., None] for row, column, weight in neighbours)
        if self.keep:
            self.saved = image, neighbours, x.shape
        return [self.xp.ascontiguousarray(y.transpose(0, 3, 1, 2)).astype(x.dtype)]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        image, neighbours, shape = self.saved
        dx = self.be.zeros((shape[0], *shape[2:], shape[1]))
        dy = dys[0].transpose(0, 2, 3, 1)
        for row, column, weight in neighbours:
            self.xp.add.at(dx, (image[:, None, None], row, column), (dy * weight[..., None]).astype(dx.dtype))
        return [self.xp.ascontiguousarray(dx.transpose(0, 3, 1, 2)), None]

    def _neighbours(self, corners, size):
        """(row, column, weight), each (R, pooled_h + 1, pooled_w + 1), of the four pixels around each point."""
        xp, param = self.xp, self.spec.roi_pooling_param
        corners = self.widened(corners, param.pad_ratio)
        first = corners[:, :2] * param.spatial_scale - 0.5
        sides = corners[:, 2:] * param.spatial_scale - 0.5 - first
        there, near = (sides > 0).all(1)[:, None, None], []
        for axis, (count, length) in enumerate(zip(self.cell_counts, size, strict=True)):  # down, then across
            start, side = (numbers[:, 1 - axis, None] for numbers in (first, sides))
            point = start + side / count * xp.arange(count + 1, dtype=corners.dtype)
            inside = (point >= -0.5) & (point <= length - 0.5)
            low = xp.floor(point)
            share = xp.clip(point, 0, length - 1) - xp.clip(low, 0, length - 1)
            pixels = [
                (xp.clip(low + step, 0, length - 1).astype("int64"), part * inside)
                for step, part in ((0, 1 - share), (1, share))
            ]
            near.append(pixels)
        return [
            (row[:, :, None], column[:, None, :], down[:, :, None] * across[:, None, :] * there)
            for row, down in near[0]
            for column, across in near[1]
        ]
