"""SegmentationEvaluate (YOLO): how well maps of what is segmented agree with the true ones, class by class.

Bottoms: scores (N, C, H, W) and true maps (N, C, h, w), both in [0, 1]; scores are brought to the size of the maps by
area.  Top: (1, 1, 1, C), for each class the pixels above `threshold` in both over those above it in either; 0 where
there are none in both.  (The fork rounds scores to 8 bits before it resizes them, and looks at the first image only.)
Source: eric612's MobileNet-YOLO.
"""

from demitasse.layers.layer import Layer
from demitasse.layers.sampling import area_weights
from demitasse.proto.errors import SchemaFault, ShapeFault


class SegmentationEvaluate(Layer):
    type = "SegmentationEvaluate"
    bottoms = (2, 2)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        param = self.spec.segmentation_evaluate_param
        if len(shapes[0]) > 1 and param.num_classes not in (0, shapes[0][1]):
            raise SchemaFault(f"num_classes is {param.num_classes}, but bottom 0 has {shapes[0][1]} maps: one for each")
        return []

    def infer(self, shapes):
        scores, maps = shapes
        if len(scores) != 4 or len(maps) != 4 or scores[:2] != maps[:2]:
            raise ShapeFault(f"scores {scores} and maps {maps} must be (N, C, H, W) and (N, C, h, w)")
        return [(1, 1, 1, scores[1])]

    def forward(self, xs):
        (scores, maps), xp, least = xs, self.xp, self.spec.segmentation_evaluate_param.threshold
        if scores.shape != maps.shape:
            down, across = (
                area_weights(xp, *sizes).astype(scores.dtype)
                for sizes in zip(scores.shape[2:], maps.shape[2:], strict=True)
            )
            scores = down @ scores @ across.T
        found, true = scores > least, maps > least
        both, either = ((chosen.sum(axis=(0, 2, 3))).astype(scores.dtype) for chosen in (found & true, found | true))
        return [self.be.asarray(both / xp.maximum(either, 1)).reshape(1, 1, 1, -1)]
