"""DetectionLoss (MS-CNN): what a map of boxes should learn.

Bottoms: predictions (N, cls_num + 4, h, w), scores and then normalised boxes, and what ImageGtData says of each
position, (N, 6, h, w).  All positions with an object count, and of the background those that sample_mode says: for each
class the bg_multiple times as many that score highest (bootstrap; at least 4), as many drawn at random (random), half
and half (mixture), or all.  Top: as field_losses.py says.

Source: "A unified multi-scale deep convolutional neural network for fast object detection" (Cai et al., 2016), 3.
"""

from demitasse.layers.field_boxes import normalisation
from demitasse.layers.field_losses import FieldLoss, check_field, check_joined_maps, truth_of

LEAST = 4  # positions of the background, of each class


class DetectionLoss(FieldLoss):
    type = "DetectionLoss"
    fields = ("detection_loss_param", "bbox_reg_param")

    def setup(self, shapes):
        param = self.param = self.spec.detection_loss_param
        check_field(param)
        self.regression, self.weight_of_boxes = normalisation(self.spec.bbox_reg_param), getattr(param, "lambda")
        return []

    def infer(self, shapes):
        check_joined_maps(shapes, self.param)
        return [(1, 1, 1, 2)]

    def forward(self, xs):
        xp, param, (x, maps) = self.xp, self.param, xs
        scores, boxes = x[:, : param.cls_num], x[:, param.cls_num :]
        truth = self.truth = truth_of(xp, maps, param, param.cls_num)
        sampled = (
            xp.stack([self._background(*each) for each in zip(scores, *truth, strict=True)]) if len(x) else truth[1]
        )
        kept, weight = sampled | truth.objects, xp.ones(truth.labels.shape, scores.dtype)
        if param.iou_weighted:
            weight = xp.where(truth.objects, maps[:, 5], weight)
        if param.pos_neg_weighted and truth.objects.any():
            weight = self.balance(kept, weight, 1 / (1 + param.bg_multiple))
        fields = [xp.full(len(x), side, scores.dtype) for side in (param.field_w, param.field_h)]
        limits = param.field_xyr, param.field_whr
        top = self.losses((scores, boxes), maps, fields, param.downsample_rate, kept, weight, limits, param.bb_smooth)
        return [top]

    def backward(self, dys, need):
        return [self.xp.concatenate(self.gradients(dys[0]), axis=1) if need[0] else None, None]

    def _background(self, scores, labels, objects, background):
        """Which positions (h, w) of an image, of those of `background`, are learned from."""
        xp, param = self.xp, self.param
        if param.sample_mode not in ("random", "bootstrap", "mixture"):
            return background
        share = param.bg_multiple * (0.5 if param.sample_mode == "mixture" else 1.0)
        chosen = xp.zeros(labels.size, bool)
        if param.sample_mode != "bootstrap" and labels.size:
            count = max(int(int(objects.sum()) * share), LEAST * (param.cls_num - 1))
            chosen[xp.asarray(self.be.rng.integers(labels.size, size=count))] = True
        if param.sample_mode != "random":
            for k in range(1, param.cls_num):
                count = max(int(int((labels == k).sum()) * share), LEAST)
                ranked = xp.argsort(xp.where(background, -scores[k], xp.inf).reshape(-1), kind="stable")
                chosen[ranked[:count]] = True
        return chosen.reshape(labels.shape) & background
