"""CAROIPooling (SINet): ROIPooling that enlarges regions with fewer pixels than cells.

Bottoms: images (N, C, H, W) and rois (R, 5), a row (image, x1, y1, x2, y2) in pixels of the net's input; top
(R, C, pooled_h, pooled_w).  Corners times `spatial_scale` are rounded to whole pixels, both inside, after pad_ratio of
a region's sides is added on each side; they begin inside the image.  Along an axis with fewer pixels than cells the
region is resized linearly, so that each cell is a pixel; the middles of pixels lie at 0.5, and what is beyond a border
is the border's pixel.  Along the other axis a cell is the largest of its pixels, as in ROIPooling.  The rois get no
gradient.

Source: "SINet: A Scale-Insensitive Convolutional Neural Network for Fast Vehicle Detection" (Hu et al., 2018), III-B.
"""

from demitasse.layers.regions import RegionLayer, rounded


class CAROIPooling(RegionLayer):
    type = "CAROIPooling"
    fields = ("caroi_pooling_param",)

    def setup(self, shapes):
        self.cell_counts = self.cells_of(self.spec.caroi_pooling_param, "caroi_pooling_param")
        return []

    def infer(self, shapes):
        return [(self.check_regions(shapes), shapes[0][1], *self.cell_counts)]

    def forward(self, xs):
        (x, rois), param, be = xs, self.spec.caroi_pooling_param, self.be
        image, corners = self.regions(rois, len(x))
        corners = rounded(self.xp, self.widened(corners, param.pad_ratio) * param.spatial_scale)
        corners[:, :2] = self.xp.maximum(corners[:, :2], 0)
        sides = self.xp.maximum(corners[:, 2:] - corners[:, :2] + 1, 1)
        few = sides < self.be.asarray(self.cell_counts[::-1])  # across, down
        y, parts = be.zeros((len(rois), x.shape[1], *self.cell_counts)), []
        for across in (False, True):
            for down in (False, True):
                (some,) = self.xp.nonzero((few[:, 0] == across) & (few[:, 1] == down))
                if len(some):
                    y[some], saved = self._pooled(x, image[some], corners[some], sides[some], (across, down))
                    parts.append((some, *saved))
        if self.keep:
            self.saved = parts, x.shape
        return [y]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        parts, shape = self.saved
        dx = self.be.zeros(shape)
        for some, weighted, largest in parts:
            dy = dys[0][some]
            if largest:
                dy = self.be.region_max_backward(dy, *largest)
            dx += self.be.region_weighted_backward(dy, *weighted, shape) if weighted else dy
        return [dx, None]

    def _pooled(self, x, image, corners, sides, few):
        """Cells of regions that have few pixels across or down, or not, and what backward needs of it."""
        windows, weights = [], []
        for axis, size in enumerate((x.shape[3], x.shape[2])):  # across, down
            start, side, cells = corners[:, axis], sides[:, axis], self.cell_counts[1 - axis]
            windows.append(self._windows(start, side, cells, size))
            weights.append(self._weights(start, side, cells, size) if few[axis] else self._as_it_is(len(start), size))
        weighted = largest = None
        if any(few):
            weighted = image, weights[1], weights[0]
            x = self.be.region_weighted_forward(x, *weighted)
            image = self.xp.arange(len(image), dtype="int32")
        if all(few):
            return x, (weighted, largest)
        for axis in filter(few.__getitem__, (0, 1)):  # here a cell is a pixel
            numbers = self.xp.arange(self.cell_counts[1 - axis], dtype="int32")
            windows[axis] = self.xp.stack([numbers, numbers + 1], -1)[None].repeat(len(image), 0)
        y, index = self.be.region_max_forward(x, image, windows[1], windows[0])
        return y, (weighted, (index, image, x.shape))

    def _windows(self, start, side, cells, size):
        """The cells of regions from pixel `start` on."""
        begins, ends = self.cells(start, side, cells)
        return self.clipped(self.xp.floor(begins) + start[:, None], self.xp.ceil(ends) + start[:, None], size)

    def _weights(self, start, side, cells, size):
        """(R, cells, size): how much each pixel counts where a region is resized to `cells` pixels."""
        xp = self.xp
        at = (xp.arange(cells, dtype=start.dtype) + 0.5) * (side / cells)[:, None] - 0.5
        at = xp.clip(xp.clip(at, 0, (side - 1)[:, None]) + start[:, None], 0, size - 1)
        return xp.maximum(1 - abs(at[..., None] - xp.arange(size, dtype=start.dtype)), 0)

    def _as_it_is(self, count, size):
        """(R, size, size): each pixel counts for itself."""
        return self.be.asarray(self.xp.eye(size)).astype(self.be.dtype)[None].repeat(count, 0)
