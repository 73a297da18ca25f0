"""DetectionGroupAccuracy (Cascade R-CNN): how right maps are that hold several boxes at each position.

Bottoms: as DetectionGroupLoss's.  Tops: (1, 1, 1, 2), the share of all positions that count, and of those with an
object, whose class scores highest; and (1, 1, 1, 1), the mean overlap of the boxes with their objects.  -1 stands where
nothing counts.  Nothing gets a gradient.

Source: the prototxts of Cascade R-CNN.
"""

from demitasse.layers.field_boxes import normalisation
from demitasse.layers.field_losses import check_fields, check_groups_of_maps, measures, truth_of
from demitasse.layers.layer import Layer


class DetectionGroupAccuracy(Layer):
    type = "DetectionGroupAccuracy"
    fields = ("detection_group_accuracy_param", "bbox_reg_param")
    bottoms, tops = (3, 3), (1, 2)
    never_differentiable = (0, 1, 2)

    def setup(self, shapes):
        param = self.param = self.spec.detection_group_accuracy_param
        check_fields(param)
        self.regression = normalisation(self.spec.bbox_reg_param)
        return []

    def infer(self, shapes):
        check_groups_of_maps(shapes, self.param)
        return [(1, 1, 1, 2), (1, 1, 1, 1)][: max(1, len(self.spec.top))]

    def forward(self, xs):
        param, (scores, boxes, maps) = self.param, xs
        truth = truth_of(self.xp, maps, param, param.cls_num)
        images = len(scores) // len(param.field_w)
        fields = [*param.field_w] * images, [*param.field_h] * images
        found = measures(self.xp, (scores, boxes), maps, truth, param, fields, param.stride, self.regression)
        tops = [self.be.asarray(numbers).reshape(1, 1, 1, -1) for numbers in (found[:2], found[2:])]
        return tops[: max(1, len(self.spec.top))]
