"""HardMining (Cascade R-CNN): of regions, and of what belongs to them, those with the largest losses.

Bottoms: the loss of each region (R,); rois (R, 5), whose first number is the image; more (R, ...).  Tops: all but the
first bottom, the rows of the num_roi_per_image regions of each of num_image images that have the largest losses, and of
others, as many as images with fewer regions leave, in their order.  Nothing gets a gradient.

Source: "Training Region-based Object Detectors with Online Hard Example Mining" (Shrivastava et al., 2016).
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import DataFault, GraphFault, SchemaFault, ShapeFault


class HardMining(Layer):
    type = "HardMining"
    bottoms, tops = (2, None), (1, None)
    never_differentiable = tuple(range(64))

    def setup(self, shapes):
        param = self.spec.hard_mining_param
        if param.num_roi_per_image < 1 or param.num_image < 1:
            raise SchemaFault("num_roi_per_image and num_image are 1 or more")
        if len(self.spec.top) != len(shapes) - 1:
            raise GraphFault(
                f"{len(shapes)} bottoms and {len(self.spec.top)} tops: a top for each bottom but the first"
            )
        return []

    def infer(self, shapes):
        if any(not shape or shape[0] != shapes[0][0] for shape in shapes) or math.prod(shapes[0]) != shapes[0][0]:
            raise ShapeFault(f"bottoms of shapes {shapes}: a loss for each of R regions, and R rows of all others")
        if math.prod(shapes[1][1:]) != 5:
            raise ShapeFault(f"bottom 1 has shape {shapes[1]}: rois (R, 5) are needed")
        param = self.spec.hard_mining_param
        count = min(param.num_image * param.num_roi_per_image, shapes[0][0])
        return [(count, *shape[1:]) for shape in shapes[1:]]

    def forward(self, xs):
        xp, param, losses = self.xp, self.spec.hard_mining_param, xs[0].reshape(-1)
        images = xs[1].reshape(len(losses), 5)[:, 0].astype("int32")
        if len(images) and not 0 <= int(images.min()) <= int(images.max()) < param.num_image:
            raise DataFault(f"a region is of image {int(images.max())}, but num_image is {param.num_image}")
        order = xp.argsort(-losses, kind="stable")  # all regions, the worst first
        by_image = order[xp.argsort(images[order], kind="stable")]
        rank = xp.zeros(len(losses), "int64")
        rank[by_image] = xp.arange(len(losses)) - xp.searchsorted(images[by_image], images[by_image])
        first = rank[order] < param.num_roi_per_image
        count = min(param.num_image * param.num_roi_per_image, len(losses))
        kept = xp.sort(xp.concatenate([order[first], order[~first]])[:count])
        return [x[kept] for x in xs[1:]]

    def backward(self, dys, need):
        return [None] * len(need)
