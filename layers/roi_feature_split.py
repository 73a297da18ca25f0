"""ROIFeatureSplit (SINet): the regions' features, or labels, branch by branch.

Bottoms: any number of arrays (R, ...), a row for each region, then ROISplit's two tops.  Tops: for the first branch the
rows of each array, then for the next; as many as arrays times branch_num.  A branch without a region has no row.  The
arrays get gradients.  LabelSplit2 and LabelSplit3, whose last bottoms come first, are upgraded to it.

Source: "SINet: A Scale-Insensitive Convolutional Neural Network for Fast Vehicle Detection" (Hu et al., 2018), III-C.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import GraphFault, ShapeFault


class ROIFeatureSplit(Layer):
    type = "ROIFeatureSplit"
    bottoms, tops = (3, None), (2, None)
    shapes_from_data = True

    def setup(self, shapes):
        arrays, branches = len(shapes) - 2, self.spec.roi_feature_split_param.branch_num
        if len(self.spec.top) != arrays * branches:
            raise GraphFault(
                f"{len(self.spec.top)} tops, but {arrays} arrays in branch_num {branches} parts need "
                f"{arrays * branches}: the last two bottoms are those that ROISplit makes"
            )
        self.never_differentiable = (arrays, arrays + 1)
        return []

    def infer(self, shapes):
        *arrays, counts, table = shapes
        branches = self.spec.roi_feature_split_param.branch_num
        if counts[:1] != (branches,) or table[1:2] != (2,) or any(shape[:1] != table[:1] for shape in arrays):
            raise ShapeFault(
                f"bottoms of shapes {', '.join(map(str, shapes))}: arrays of as many rows as ROISplit's second top "
                f"(R, 2, 1, 1) are needed, and its first ({branches}, 1, 1, 1) of branch_num {branches}"
            )
        return arrays * branches

    def forward(self, xs):
        *arrays, counts, table = xs
        branch = table.reshape(len(table), 2)[:, 1]
        parts = [self.xp.nonzero(branch == b + 1)[0] for b in range(self.spec.roi_feature_split_param.branch_num)]
        if self.keep:
            self.saved = parts, [x.shape for x in arrays]
        return [x[rows] for rows in parts for x in arrays]

    def backward(self, dys, need):
        parts, shapes = self.saved
        dxs = [self.be.zeros(shape) if needed else None for shape, needed in zip(shapes, need, strict=False)]
        for i, dy in enumerate(dys):
            dx, rows = dxs[i % len(dxs)], parts[i // len(dxs)]
            if dx is not None and dy is not None:
                dx[rows] = dy
        return [*dxs, None, None]
