"""ROIPooling (Fast R-CNN): the largest pixel in each of pooled_h x pooled_w cells of every region.

Bottoms: images (N, C, H, W) and rois (R, 5), a row (image, x1, y1, x2, y2) in pixels of the net's input; top
(R, C, pooled_h, pooled_w).  A region's corners times `spatial_scale` are rounded to whole pixels, both inside it, and
it has at least one.  Its cells have equal sizes, each widened to whole pixels, so that neighbours may share some; a
cell outside the image gives 0.  The rois get no gradient.
With `pad_ratio` (MS-CNN) a region grows on each side by so much of its sides before, to take in its surroundings.
Source: "Fast R-CNN" (Girshick, 2015), 2.1.
"""

from demitasse.layers.regions import RegionLayer, rounded


class ROIPooling(RegionLayer):
    type = "ROIPooling"

    def setup(self, shapes):
        self.cell_counts = self.cells_of(self.spec.roi_pooling_param, "roi_pooling_param")
        return []

    def infer(self, shapes):
        return [(self.check_regions(shapes), shapes[0][1], *self.cell_counts)]

    def forward(self, xs):
        x, rois = xs
        image, corners = self.regions(rois, len(x))
        if self.spec.roi_pooling_param.pad_ratio:
            corners = self.widened(corners, self.spec.roi_pooling_param.pad_ratio)
        corners = rounded(self.xp, corners * self.spec.roi_pooling_param.spatial_scale)
        columns, rows = (self._windows(corners[:, axis], corners[:, 2 + axis], axis, x.shape) for axis in (0, 1))
        y, index = self.be.region_max_forward(x, image, rows, columns)
        if self.keep:
            self.saved = index, image, x.shape
        return [y]

    def backward(self, dys, need):
        return [self.be.region_max_backward(dys[0], *self.saved) if need[0] else None, None]

    def to_onnx(self, graph, xs):
        x, rois, param = xs[0], graph.reshape(xs[1], [graph.size(xs[1], 0), 5]), self.spec.roi_pooling_param
        if param.pad_ratio:
            image, low, high = (graph.slice(rois, [i], [j], [1]) for i, j in ((0, 1), (1, 3), (3, 5)))
            grown = (high - low + 1.0) * param.pad_ratio
            rois = graph.concat([image, low - grown, high + grown], 1)
        return [
            graph.node("MaxRoiPool", x, rois, pooled_shape=list(self.cell_counts), spatial_scale=param.spatial_scale)
        ]

    def _windows(self, first, last, axis, shape):
        """The cells of columns (axis 0) or rows (1) from pixel `first` to pixel `last`."""
        begins, ends = self.cells(first, self.xp.maximum(last - first + 1, 1), self.cell_counts[1 - axis])
        start = first[:, None]
        return self.clipped(self.xp.floor(begins) + start, self.xp.ceil(ends) + start, shape[3 - axis])
