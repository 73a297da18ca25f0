"""DetectionAccuracy (MS-CNN): how right a map of boxes is.

Bottoms: as DetectionLoss's.  Tops: (1, 1, 1, 2), the share of all places that count, and of those with an object, whose
class is among the top_k with the highest scores; and (1, 1, 1, 1), the mean overlap of the boxes with their objects.
-1 stands where nothing counts.  Nothing gets a gradient.

Source: the prototxts of MS-CNN.
"""

from demitasse.layers.field_boxes import check_limits, normalisation
from demitasse.layers.field_losses import check_maps, measures, truth_of
from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class DetectionAccuracy(Layer):
    type = "DetectionAccuracy"
    fields = ("detection_accuracy_param", "bbox_reg_param")
    bottoms, tops = (2, 2), (1, 2)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        param = self.param = self.spec.detection_accuracy_param
        check_limits(param)
        if min(param.field_w, param.field_h, param.downsample_rate) < 1 or param.cls_num < 2 or param.coord_num != 4:
            raise SchemaFault(
                "give cls_num of 2 or more, coord_num 4, and field_w, field_h and downsample_rate above 0"
            )
        self.regression = normalisation(self.spec.bbox_reg_param)
        return []

    def infer(self, shapes):
        (x, maps), classes = shapes, self.param.cls_num
        if len(x) != 4 or x[1] != classes + 4:
            raise ShapeFault(
                f"predictions of shape {x}: (N, {classes + 4}, h, w), cls_num scores and 4 numbers, are needed"
            )
        check_maps([(x[0], classes, *x[2:]), (x[0], 4, *x[2:]), maps], classes, self.param.objectness)
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
