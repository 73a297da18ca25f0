"""BoxAnnotatorOHEM (R-FCN): keeps the labels of the regions with the largest losses, and ignores all others.

Bottoms: rois (R, 5), whose first number is the image; the loss of each region (R, ...); their labels (R, ...); the
weights of their boxes (R, ...).  Tops: the labels, with `ignore_label` for all but the roi_per_img regions of each
image that have the largest losses, and the weights, 0 for these others.  Nothing gets a gradient.
Source: "Training Region-based Object Detectors with Online Hard Example Mining" (Shrivastava et al., 2016).
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault

NAMES = "rois", "losses", "labels", "box weights"


class BoxAnnotatorOHEM(Layer):
    type = "BoxAnnotatorOHEM"
    bottoms, tops = (4, 4), (2, 2)
    never_differentiable = (0, 1, 2, 3)

    def setup(self, shapes):
        if self.spec.box_annotator_ohem_param.roi_per_img < 1:
            raise SchemaFault(
                "roi_per_img is missing: say how many regions of an image are to count, "
                "box_annotator_ohem_param { roi_per_img: 128 }"
            )
        return []

    def infer(self, shapes):
        wanted = 5, 1, 1
        for i, (shape, name) in enumerate(zip(shapes, NAMES, strict=True)):
            if not shape or shape[0] != shapes[0][0] or (i < 3 and math.prod(shape[1:]) != wanted[i]):
                raise ShapeFault(
                    f"bottom {i} has shape {shape}, but {shapes[0][0] if shapes[0] else 'some'} regions are to be "
                    "chosen from: give rois (R, 5), their losses (R,), labels (R,) and box weights (R, ...), in this "
                    f"order; this is where the {name} belong"
                )
        return shapes[2:]

    def forward(self, xs):
        rois, losses, labels, weights = xs
        xp, image = self.xp, rois.reshape(-1, 5)[:, 0].astype("int32")
        order = xp.argsort(-losses.reshape(-1), kind="stable")  # all regions, the worst first
        order = order[xp.argsort(image[order], kind="stable")]  # and image after image
        sorted_images = image[order]
        rank = xp.arange(len(order)) - xp.searchsorted(sorted_images, sorted_images)
        chosen = xp.zeros(len(order), bool)
        chosen[order] = rank < self.spec.box_annotator_ohem_param.roi_per_img
        ignored = self.spec.box_annotator_ohem_param.ignore_label
        return [
            xp.where(chosen.reshape(-1, *[1] * (labels.ndim - 1)), labels, ignored).astype(labels.dtype),
            weights * chosen.reshape(-1, *[1] * (weights.ndim - 1)),
        ]
