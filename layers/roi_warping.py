"""ROIWarping (MNC): each region of interest, resized to pooled_h x pooled_w, whose corners can be learned from.

Bottoms: images (N, C, H, W) and rois (R, 5), a row (image, x1, y1, x2, y2) in pixels of the net's input; top
(R, C, pooled_h, pooled_w).  A region's corners times `spatial_scale` are not rounded, and it is at least 1 wide and
high; of cell j of W' columns the sample lies at x1 + (j / W') (x2 - x1), and so for rows.  Samples are linear along
each axis, with zeros outside the image, so a region is a matrix from the left (rows) and one from the right (columns).

Source: "Instance-aware semantic segmentation via multi-task network cascades" (Dai et al., 2016), 3.2.
"""

from demitasse.layers.onnx.boxes import column
from demitasse.layers.onnx.graph import FLOAT, INT
from demitasse.layers.regions import RegionLayer


class ROIWarping(RegionLayer):
    type = "ROIWarping"
    never_differentiable = ()

    def setup(self, shapes):
        self.cell_counts = self.cells_of(self.spec.roi_warping_param, "roi_warping_param")
        return []

    def infer(self, shapes):
        return [(self.check_regions(shapes), shapes[0][1], *self.cell_counts)]

    def forward(self, xs):
        x, rois = xs
        image, corners = self.regions(rois, len(x))
        corners = corners * self.spec.roi_warping_param.spatial_scale
        columns, rows = (self._weights(corners, axis, x.shape[3 - axis]) for axis in (0, 1))
        if self.keep:
            self.saved = x, image, corners, rows, columns, rois.shape
        return [self.be.region_weighted_forward(x, image, rows[0], columns[0])]

    def backward(self, dys, need):
        (dy,), (x, image, corners, rows, columns, shape) = dys, self.saved
        dx = drois = None
        if need[0]:
            dx = self.be.region_weighted_backward(dy, image, rows[0], columns[0], x.shape)
        if need[1]:
            drois = self.be.zeros((len(image), 5))
            down = (dy * self.be.region_weighted_forward(x, image, rows[1], columns[0])).sum((1, 3))
            across = (dy * self.be.region_weighted_forward(x, image, rows[0], columns[1])).sum((1, 2))
            for axis, slopes in ((0, across), (1, down)):
                self._add(drois, corners, axis, slopes)
            drois *= self.spec.roi_warping_param.spatial_scale
            drois = drois.reshape(shape)
        return [dx, drois]

    def to_onnx(self, graph, xs):
        x, rois = xs[0], graph.reshape(xs[1], [graph.size(xs[1], 0), 5])
        image = graph.cast(column(graph, rois, 0), INT)
        rows, columns = (self._onnx_weights(graph, rois, axis, graph.size(x, 3 - axis)) for axis in (1, 0))
        seen = graph.node("MatMul", graph.node("Unsqueeze", rows, graph.constant([1], INT)), graph.gather(x, image, 0))
        columns = graph.node("Unsqueeze", graph.transpose(columns, [0, 2, 1]), graph.constant([1], INT))
        return [graph.node("MatMul", seen, columns)]

    def _onnx_weights(self, graph, rois, axis, size):
        """The first of `_weights` in the graph."""
        first, last = (column(graph, rois, i + axis) * self.spec.roi_warping_param.spatial_scale for i in (1, 3))
        side = graph.node("Max", last - first, graph.constant(1.0))
        count = self.cell_counts[1 - axis]
        shares = graph.constant([[[i / count] for i in range(count)]])
        first, side = (graph.reshape(each, [-1, 1, 1]) for each in (first, side))
        away = graph.node("Abs", first + side * shares - graph.cast(graph.arange(size), FLOAT))
        return graph.clip(1.0 - away, 0.0)

    def _shares(self, axis, dtype):
        """Where the cells' samples lie along x (axis 0) or y (1), as shares of the region's side."""
        count = self.cell_counts[1 - axis]
        return self.xp.arange(count, dtype=dtype) / count

    def _weights(self, corners, axis, size):
        """(R, cells, size) twice: how much each pixel along x or y counts in each cell, and how that grows with the
        sample's position."""
        xp = self.xp
        first, side = corners[:, axis, None], xp.maximum(corners[:, 2 + axis] - corners[:, axis], 1)[:, None]
        away = (first + side * self._shares(axis, corners.dtype))[..., None] - xp.arange(size, dtype=corners.dtype)
        near = abs(away) < 1
        return xp.where(near, 1 - abs(away), 0), xp.where(near, -xp.sign(away), 0).astype(corners.dtype)

    def _add(self, drois, corners, axis, slopes):
        """Add to drois what the corners get along x or y, slopes (R, cells) being the gradients of the samples."""
        shares = self._shares(axis, corners.dtype)
        grows = corners[:, 2 + axis] - corners[:, axis] > 1  # below that the side stays 1
        last = (slopes * shares).sum(1) * grows
        drois[:, 1 + axis] += slopes.sum(1) - last
        drois[:, 3 + axis] += last
