"""DetectionGroupLoss (Cascade R-CNN): what maps that hold several boxes at each position should learn.

Bottoms: scores (N G, cls_num, h, w), normalised boxes (N G, 4, h, w), and what DetectionData says of each position,
(N G, 6, h, w), where image n's G maps follow each other, one for each field_w and field_h.  Of an image batch_size
positions count, 1 / (1 + bg_multiple) of them with an object if there are so many, drawn at random; with batch_size -1
all that have one, and bg_multiple times as many of the background (at least min_num_neg).  Those of the background are
drawn at random, or are those that score worst (bootstrap), or half and half (mixture).  Top: as field_losses.py says.

Source: "Cascade R-CNN: Delving into high quality object detection" (Cai and Vasconcelos, 2018); its prototxts.
"""

from demitasse.layers.field_boxes import normalisation
from demitasse.layers.field_losses import FieldLoss, check_fields, check_groups_of_maps, truth_of
from demitasse.proto.errors import SchemaFault

WORDS = {
    "neg_mining_type": ("random", "bootstrap", "mixture"),
    "neg_ranking_type": ("conf_loss", "conf_prob"),
    "bbox_loss_type": ("Smooth_L1", "Euclidean_L2"),
}


class DetectionGroupLoss(FieldLoss):
    type = "DetectionGroupLoss"
    fields = ("detection_group_loss_param", "bbox_reg_param")
    bottoms = (3, 3)
    never_differentiable = (2,)

    def setup(self, shapes):
        param = self.param = self.spec.detection_group_loss_param
        for field, known in WORDS.items():
            if getattr(param, field) not in known:
                raise SchemaFault(f'{field} "{getattr(param, field)}" is not known: {" or ".join(known)}')
        check_fields(param)
        if param.batch_size < 1 and param.batch_size != -1:
            raise SchemaFault(f"batch_size {param.batch_size}: it is above 0, or -1 for all positions with an object")
        self.regression, self.weight_of_boxes = normalisation(self.spec.bbox_reg_param), getattr(param, "lambda")
        limited = param.HasField("field_xyr") and param.HasField("field_whr")
        self.limits = (param.field_xyr, param.field_whr) if limited else None
        return []

    def infer(self, shapes):
        check_groups_of_maps(shapes, self.param)
        return [(1, 1, 1, 2)]

    def forward(self, xs):
        xp, param, (scores, boxes, maps) = self.xp, self.param, xs
        truth, groups = truth_of(xp, maps, param, param.cls_num), len(param.field_w)
        self.truth, shape = truth, (len(scores) // groups, -1 if scores.size else 0)
        ranks = self._ranks(scores, truth.labels).reshape(shape)
        each = zip(truth.objects.reshape(shape), truth.background.reshape(shape), ranks, strict=True)
        kept = [self._kept(*image) for image in each]
        kept = xp.stack(kept).reshape(truth.labels.shape) if kept else truth.objects
        weight = xp.ones(truth.labels.shape, scores.dtype)
        if param.pos_neg_weighted:
            weight = self.balance(kept, weight, 1 / (1 + param.bg_multiple))
        fields = [xp.asarray([*sides] * shape[0], scores.dtype) for sides in (param.field_w, param.field_h)]
        smooth = param.bbox_loss_type == "Smooth_L1"
        return [self.losses((scores, boxes), maps, fields, param.stride, kept, weight, self.limits, smooth)]

    def backward(self, dys, need):
        return [dx if wanted else None for dx, wanted in zip((*self.gradients(dys[0]), None), need, strict=True)]

    def _ranks(self, scores, labels):
        """How wrong (M, h, w) each position is that should say background."""
        xp = self.xp
        if self.param.neg_mining_type == "random" or not scores.size:
            return xp.zeros(labels.shape, scores.dtype)
        shifted = scores - scores.max(axis=1, keepdims=True)
        return xp.log(xp.exp(shifted).sum(axis=1)) - shifted[:, 0]  # which both ranking types rise with

    def _kept(self, objects, background, ranks):
        """Which positions (G h w,) of an image count."""
        xp, param = self.xp, self.param
        own, others = (xp.nonzero(each)[0] for each in (objects, background))
        if param.batch_size == -1:
            positives, negatives = len(own), max(len(own) * param.bg_multiple, param.min_num_neg)
        else:
            positives = min(int(param.batch_size / (1 + param.bg_multiple) + 0.5), len(own))
            negatives = param.batch_size - positives
        own, count = self._drawn(own, positives), min(negatives, len(others))
        hard = {"random": 0, "bootstrap": count, "mixture": int(count * 0.5 + 0.5)}[param.neg_mining_type]
        others = others[xp.argsort(-ranks[others], kind="stable")] if hard else others
        kept = xp.zeros(len(objects), bool)
        for chosen in (own, others[:hard], self._drawn(others[hard:], count - hard)):
            kept[chosen] = True
        return kept

    def _drawn(self, positions, count: int):
        """So many of the positions."""
        if len(positions) <= count:
            return positions
        return positions[self.xp.asarray(self.be.rng.permutation(len(positions))[:count])]
