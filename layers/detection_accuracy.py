"""DetectionAccuracy (MS-CNN): how right a map of boxes is.

Bottoms: as DetectionLoss's.  Tops: (1, 1, 1, 2), the share of all positions that count, and of those with an object,
whose class is among the top_k with the highest scores; and (1, 1, 1, 1), the mean overlap of the boxes with their
objects. -1 stands where nothing counts.  Nothing gets a gradient.

Source: the prototxts of MS-CNN.
"""

from demitasse.layers.field_boxes import normalisation
from demitasse.layers.field_losses import check_field, check_joined_maps, measures, truth_of
from demitasse.layers.layer import Layer


class DetectionAccuracy(Layer):
    type = "DetectionAccuracy"
    fields = ("detection_accuracy_param", "bbox_reg_param")
    bottoms, tops = (2, 2), (1, 2)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        param = self.param = self.spec.detection_accuracy_param
        check_field(param)
        self.regression = normalisation(self.spec.bbox_reg_param)
        return []

    def infer(self, shapes):
        check_joined_maps(shapes, self.param)
        return [(1, 1, 1, 2), (1, 1, 1, 1)][: max(1, len(self.spec.top))]

    def forward(self, xs):
        param, (x, maps) = self.param, xs
        scores, boxes = x[:, : param.cls_num], x[:, param.cls_num :]
        truth = truth_of(self.xp, maps, param, param.cls_num)
        fields = [param.field_w] * len(x), [param.field_h] * len(x)
        found = measures(
            self.xp, (scores, boxes), maps, truth, param, fields, param.downsample_rate, self.regression, param.top_k
        )
        tops = [self.be.asarray(numbers).reshape(1, 1, 1, -1) for numbers in (found[:2], found[2:])]
        return tops[: max(1, len(self.spec.top))]
