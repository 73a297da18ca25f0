"""PSROIPooling (R-FCN): each cell of a region is the mean of its pixels in a channel of its own.

Bottoms: score maps (N, output_dim * group_size^2, H, W) and rois (R, 5), a row (image, x1, y1, x2, y2) in pixels of the
net's input; top (R, output_dim, group_size, group_size), whose cell (i, j) of number d looks at channel
(d * group_size + i) * group_size + j.  A region reaches from its rounded first corner to its rounded last one, that
pixel included, and is then multiplied by `spatial_scale`; it is at least 0.1 wide and high.  Cells have equal sizes,
each widened to whole pixels; one outside the image gives 0.  The rois get no gradient.
Source: "R-FCN: Object Detection via Region-based Fully Convolutional Networks" (Dai et al., 2016), 2.
"""

from demitasse.layers.onnx import boxes as onnx
from demitasse.layers.regions import RegionLayer, onnx_rounded, rounded
from demitasse.proto.errors import SchemaFault


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
        return [self.position_sensitive(shapes, self.spec.psroi_pooling_param)]

    def forward(self, xs):
        x, rois = xs
        image, corners = self.regions(rois, len(x))
        columns, rows = (self._windows(corners[:, axis], corners[:, 2 + axis], x.shape[3 - axis]) for axis in (0, 1))
        if self.keep:
            self.saved = image, rows, columns, x.shape
        return [self.be.region_mean_forward(x, image, rows, columns)]

    def backward(self, dys, need):
        return [self.be.region_mean_backward(dys[0], *self.saved) if need[0] else None, None]

    def to_onnx(self, graph, xs):
        """By integral images, in float64 since they are differences of large sums."""
        param, (images, _, height, width) = self.spec.psroi_pooling_param, graph.sizes(xs[0])
        cells = param.group_size
        x = graph.reshape(graph.cast(xs[0], "float64"), [images, param.output_dim, cells, cells, height, width])
        x = graph.pad(graph.transpose(x, [0, 2, 3, 4, 5, 1]), [0, 0, 0, 1, 1, 0], [0] * 6)
        for axis in (3, 4):
            x = graph.node("CumSum", x, graph.constant(axis, "int64"))
        rois = graph.reshape(xs[1], [graph.size(xs[1], 0), 5])
        image = graph.reshape(graph.cast(graph.slice(rois, [0], [1], [1]), "int64"), [-1, 1, 1])
        rows, columns = (self._onnx_windows(graph, rois, axis, size) for axis, size in ((1, height), (0, width)))
        cell = graph.constant(range(cells), "int64")
        row, column = (graph.reshape(cell, shape) for shape in ([1, -1, 1], [1, 1, -1]))
        area = (rows[1] - rows[0]) * (columns[1] - columns[0])
        total = None
        for i, j in ((1, 1), (0, 0), (0, 1), (1, 0)):
            places = [place + area * 0 for place in (image, row, column, rows[i], columns[j])]
            corner = onnx.at(graph, x, *places)  # (R, cells, cells, output_dim)
            total = corner if total is None else total + corner if i == j else total - corner
        area = graph.node("Unsqueeze", graph.cast(graph.larger(area, 1), "float64"), graph.constant([-1], "int64"))
        return [graph.transpose(graph.cast(total / area, "float32"), [0, 3, 1, 2])]

    def _onnx_windows(self, graph, rois, axis, size):
        """[first, end] of the windows as indices (R, cells, 1) of rows (axis 1) or (R, 1, cells) of columns (0)."""
        param, cells = self.spec.psroi_pooling_param, self.spec.psroi_pooling_param.group_size
        first, last = (graph.slice(rois, [i], [i + 1], [1]) for i in (1 + axis, 3 + axis))
        start = onnx_rounded(graph, first) * param.spatial_scale
        end = (onnx_rounded(graph, last) + 1.0) * param.spatial_scale
        length = graph.clip(end - start, low=0.1) / float(cells)
        steps = graph.constant([range(cells)]), graph.constant([range(1, cells + 1)])
        bounds = [graph.node(op, length * step + start) for op, step in zip(("Floor", "Ceil"), steps, strict=True)]
        limit = graph.as_float(size)
        bounds = [graph.node("Min", graph.clip(bound, low=0.0), graph.scalar(limit)) for bound in bounds]
        shape = [-1, cells, 1] if axis else [-1, 1, cells]
        return [graph.reshape(graph.cast(bound, "int64"), shape) for bound in bounds]

    def _windows(self, first, last, size):
        param = self.spec.psroi_pooling_param
        start, end = rounded(self.xp, first) * param.spatial_scale, (rounded(self.xp, last) + 1) * param.spatial_scale
        begins, ends = self.cells(start, self.xp.maximum(end - start, 0.1), param.group_size)
        start = start[:, None]
        return self.clipped(self.xp.floor(begins + start), self.xp.ceil(ends + start), size)
