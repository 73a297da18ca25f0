"""PSROIPooling (R-FCN): each cell of a region is the mean of its pixels in a channel of its own.

Bottoms: score maps (N, output_dim * group_size^2, H, W) and rois (R, 5), a row (image, x1, y1, x2, y2) in pixels of the
net's input; top (R, output_dim, group_size, group_size), whose cell (i, j) of number d looks at channel
(d * group_size + i) * group_size + j.  A region reaches from its rounded first corner to its rounded last one, that
pixel included, and is then multiplied by `spatial_scale`; it is at least 0.1 wide and high.  Cells have equal sizes,
each widened to whole pixels; one outside the image gives 0.  The rois get no gradient.
Source: "R-FCN: Object Detection via Region-based Fully Convolutional Networks" (Dai et al., 2016), 2.
"""

from demitasse.layers.regions import RegionLayer, rounded
from demitasse.proto.errors import SchemaFault, ShapeFault


class PSROIPooling(RegionLayer):
    type = "PSROIPooling"

    def setup(self, shapes):
        param = self.spec.psroi_pooling_param
        if param.output_dim < 1 or param.group_size < 1 or param.spatial_scale <= 0:
            raise SchemaFault(
                f"output_dim {param.output_dim}, group_size {param.group_size} and spatial_scale "
                f"{param.spatial_scale:g} must be above 0: write, say, psroi_pooling_param {{ output_dim: 21 "
                "group_size: 7 spatial_scale: 0.0625 }"
            )
        return []

    def infer(self, shapes):
        regions, param = self.check_regions(shapes), self.spec.psroi_pooling_param
        wanted = param.output_dim * param.group_size**2
        if shapes[0][1] != wanted:
            raise ShapeFault(
                f"bottom 0 has {shapes[0][1]} channels (shape {shapes[0]}), but output_dim {param.output_dim} with a "
                f"map for each of {param.group_size}x{param.group_size} cells makes {wanted}"
            )
        return [(regions, param.output_dim, param.group_size, param.group_size)]

    def forward(self, xs):
        x, rois = xs
        image, corners = self.regions(rois, len(x))
        columns, rows = (self._windows(corners[:, axis], corners[:, 2 + axis], x.shape[3 - axis]) for axis in (0, 1))
        if self.keep:
            self.saved = image, rows, columns, x.shape
        return [self.be.region_mean_forward(x, image, rows, columns)]

    def backward(self, dys, need):
        return [self.be.region_mean_backward(dys[0], *self.saved) if need[0] else None, None]

    def _windows(self, first, last, size):
        param = self.spec.psroi_pooling_param
        start, end = rounded(self.xp, first) * param.spatial_scale, (rounded(self.xp, last) + 1) * param.spatial_scale
        begins, ends = self.cells(start, self.xp.maximum(end - start, 0.1), param.group_size)
        start = start[:, None]
        return self.clipped(self.xp.floor(begins + start), self.xp.ceil(ends + start), size)
