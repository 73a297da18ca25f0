"""ROIAlign (Mask R-CNN forks): each of pooled_h x pooled_w cells of a region is the mean of bilinear samples in it.

Bottoms: images (N, C, H, W) and rois (R, 5), a row (image, x1, y1, x2, y2) in pixels of the net's input; top
(R, C, pooled_h, pooled_w).  Nothing is rounded: a region's corners are multiplied by `spatial_scale`, it is at least 1
wide and high, and a cell has sampling_ratio x sampling_ratio samples at equal distances (0 or less: as many as it has
pixels, rounded up, but no more than twice those of the image).  A sample more than a pixel outside the image is 0, a
nearer one takes the border's value.
The fields are read from roi_align_param, or from roi_pooling_param as some forks have it.
Sampling is linear along each axis, so a region is a matrix from the left (rows) and one from the right (columns).
Source: "Mask R-CNN" (He et al., 2017), 3.
"""

from demitasse.layers.regions import RegionLayer


class ROIAlign(RegionLayer):
    type = "ROIAlign"
    fields = ("roi_pooling_param",)

    def setup(self, shapes):
        own = self.spec.HasField("roi_align_param") or not self.spec.HasField("roi_pooling_param")
        param = self.spec.roi_align_param if own else self.spec.roi_pooling_param
        self.cell_counts = self.cells_of(param, "roi_align_param" if own else "roi_pooling_param")[::-1]
        self.scale, self.samples = param.spatial_scale, self.spec.roi_align_param.sampling_ratio
        return []

    def infer(self, shapes):
        return [(self.check_regions(shapes), shapes[0][1], *self.cell_counts[::-1])]

    def forward(self, xs):
        x, rois = xs
        image, corners = self.regions(rois, len(x))
        columns, rows = (self._weights(corners * self.scale, axis, x.shape[3 - axis]) for axis in (0, 1))
        if self.keep:
            self.saved = image, rows, columns, x.shape
        return [self.be.region_weighted_forward(x, image, rows, columns)]

    def backward(self, dys, need):
        return [self.be.region_weighted_backward(dys[0], *self.saved) if need[0] else None, None]

    def to_onnx(self, graph, xs):
        rois = graph.reshape(xs[1], [graph.size(xs[1], 0), 5])
        image = graph.cast(graph.reshape(graph.slice(rois, [0], [1], [1]), [-1]), "int64")
        corners = graph.slice(rois, [1], [5], [1])
        width, height = self.cell_counts
        sizes = {"output_height": height, "output_width": width, "sampling_ratio": max(self.samples, 0)}
        return [graph.node("RoiAlign", xs[0], corners, image, spatial_scale=self.scale, **sizes)]

    def _weights(self, corners, axis, size):
        """(R, cells, size): how much each pixel along x (axis 0) or y (1) counts in each cell."""
        xp, count = self.xp, self.cell_counts[axis]
        start = corners[:, axis]
        length = xp.maximum(corners[:, 2 + axis] - start, 1)
        samples = xp.clip(xp.ceil(length / count), 1, 2 * size)
        if self.samples > 0:
            samples = xp.full(start.shape, self.samples, start.dtype)
        begins, ends = self.cells(start, length, count)
        weights, pixels = self.be.zeros((len(start), count, size)), xp.arange(size, dtype=start.dtype)
        for i in range(int(samples.max()) if samples.size else 0):
            at = start[:, None] + begins + (ends - begins) * ((i + 0.5) / samples)[:, None]
            counts = (i < samples)[:, None] & (at >= -1) & (at <= size)
            near = 1 - abs(xp.clip(at, 0, max(size - 1, 0))[..., None] - pixels)
            weights += xp.where(counts[..., None], xp.maximum(near, 0), 0)
        return weights / samples[:, None, None]
