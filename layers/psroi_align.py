"""PSROIAlign (R-FCN-PSROIAlign): PSROIPooling whose cells are means of bilinear samples, with nothing rounded.

Bottoms: score maps (N, output_dim * group_size^2, H, W) and rois (R, 5), a row (image, x1, y1, x2, y2) in pixels of the
net's input; top (R, output_dim, group_size, group_size), whose cell (i, j) of number d looks at channel
(d * group_size + i) * group_size + j.  A region reaches to a pixel beyond its last corner, multiplied by spatial_scale,
and is at least 0.1 wide and high.  A cell has sample_num x sample_num samples, which divide it into equal parts, from
where it begins inside the image; those beyond its end or the image are 0.  The rois get no gradient.

Source: "R-FCN" (Dai et al., 2016), 2; "Mask R-CNN" (He et al., 2017), 3; the samples of its fork.
"""

from demitasse.layers.regions import RegionLayer
from demitasse.proto.errors import SchemaFault


class PSROIAlign(RegionLayer):
    type = "PSROIAlign"
    fields = ("psroi_align_param",)

    def setup(self, shapes):
        param = self.spec.psroi_align_param
        if min(param.output_dim, param.group_size, param.sample_num) < 1 or param.spatial_scale <= 0:
            raise SchemaFault(
                f"output_dim {param.output_dim}, group_size {param.group_size}, sample_num {param.sample_num} and "
                f"spatial_scale {param.spatial_scale:g} must be above 0: write, say, psroi_align_param {{ "
                "output_dim: 21 group_size: 7 sample_num: 2 spatial_scale: 0.0625 }"
            )
        return []

    def infer(self, shapes):
        return [self.position_sensitive(shapes, self.spec.psroi_align_param)]

    def forward(self, xs):
        (x, rois), cells = xs, self.spec.psroi_align_param.group_size
        image, corners = self.regions(rois, len(x))
        columns, rows = (self._weights(corners, axis, x.shape[3 - axis]) for axis in (0, 1))
        y = self.be.region_weighted_forward(x, image, rows, columns)
        if self.keep:
            self.saved = image, rows, columns, x.shape
        return [self._own(y.reshape(len(y), x.shape[1] // cells**2, cells, cells, cells, cells)).copy()]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        (dy,), cells, shape = dys, self.spec.psroi_align_param.group_size, self.saved[-1]
        whole = self.be.zeros((*dy.shape, cells, cells))
        rows, columns = self.xp.arange(cells)[:, None], self.xp.arange(cells)
        whole[:, :, rows, columns, rows, columns] = dy
        return [self.be.region_weighted_backward(whole.reshape(len(dy), shape[1], cells, cells), *self.saved), None]

    def _own(self, y):
        """Of all channels (R, D, i, j, ...) at all cells (..., i', j') each one's own, (R, D, i, j)."""
        rows, columns = self.xp.arange(y.shape[2])[:, None], self.xp.arange(y.shape[3])
        return y[:, :, rows, columns, rows, columns]

    def _weights(self, corners, axis, size):
        """(R, cells, size): how much each pixel along x (axis 0) or y (1) counts in each cell."""
        xp, param = self.xp, self.spec.psroi_align_param
        cells, samples = param.group_size, param.sample_num
        start = corners[:, axis] * param.spatial_scale
        length = xp.maximum((corners[:, 2 + axis] + 1) * param.spatial_scale - start, 0.1)[:, None] / cells
        number, pixels = xp.arange(cells, dtype=start.dtype), xp.arange(size, dtype=start.dtype)
        begin, end = (xp.clip(start[:, None] + each * length, 0, max(size - 1, 0)) for each in (number, number + 1))
        weights = self.be.zeros((len(start), cells, size))
        for i in range(1, samples + 1):
            at = begin + length * i / (samples + 1)
            near = xp.maximum(1 - abs(at[..., None] - pixels), 0)
            weights += xp.where((at < end)[..., None], near, 0) / samples
        return weights
