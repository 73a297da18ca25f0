"""MultiBoxLoss (SSD, RefineDet): how far a detector's boxes and scores are from the objects of its images.

Bottoms: locations (N, P L 4) relative to P priors, one box each (L = 1) or with share_location: false one per class;
scores (N, P classes); priors (1, 2, 4 P); the objects (1, 1, G, 8), a row (image, class, instance, x1, y1, x2, y2,
difficult) each, of image -1 where there is none.  A fourth and a fifth are RefineDet's first stage, scores (N, 2 P) and
locations (N, 4 P): the priors are refined by it, and negatives need an object score of objectness_score there.

Each prior that answers for an object (matching.py) learns its box and its class, and of the others, which should say
background, those that err most: MAX_NEGATIVE neg_pos_ratio for each match, among those that overlap less than
neg_overlap; HARD_EXAMPLE the sample_size worst of an image, matched or not; NONE all of them.
The top is (loc_weight * location loss + class loss) / matches (or what loss_param.normalization says).
Source: "SSD: Single Shot MultiBox Detector" (Liu et al., 2016), 2.2; RefineDet (Zhang et al., 2018), 3.
"""

from typing import Any, NamedTuple

from demitasse.layers.boxes import iou
from demitasse.layers.layer import LossLayer
from demitasse.layers.matching import UNMATCHED, hardest, match
from demitasse.layers.priors import check_predictions, decode, encode, split
from demitasse.proto.errors import GraphFault, LabelFault, SchemaFault, ShapeFault
from demitasse.proto.messages import MultiBoxLossParameter as Parameter


class Objects(NamedTuple):
    """The objects of an image."""

    boxes: Any  # (G, 4), on the device
    labels: Any  # (G,)


class MultiBoxLoss(LossLayer):
    """The loss of SSD: locations and confidences of the boxes that match, and the hardest of those that do not."""

    type = "MultiBoxLoss"
    fields = ("multibox_loss_param", "loss_param")
    bottoms = (4, 6)
    never_differentiable = (2, 3, 4, 5)

    def setup(self, shapes):
        param = self.spec.multibox_loss_param
        self.count, self.per_prior = check_predictions(shapes, param, self.type)
        self.mines = param.mining_type != Parameter.NONE
        if param.HasField("do_neg_mining") and param.do_neg_mining != self.mines:
            raise SchemaFault(
                f"do_neg_mining: {str(param.do_neg_mining).lower()} contradicts mining_type: "
                f"{Parameter.MiningType.Name(param.mining_type)}; leave do_neg_mining out, it is the older form"
            )
        if param.background_label_id >= param.num_classes:
            raise SchemaFault(f"background_label_id {param.background_label_id} is none of {param.num_classes} classes")
        if param.map_object_to_agnostic and param.num_classes != 2:
            raise SchemaFault(f"map_object_to_agnostic leaves 2 classes, but num_classes is {param.num_classes}")
        if self.mines and param.mining_type == Parameter.HARD_EXAMPLE and param.sample_size < 1:
            raise SchemaFault(f"sample_size {param.sample_size}: HARD_EXAMPLE needs 1 or more per image")
        if not param.share_location and (self.mines or len(shapes) == 6):
            raise SchemaFault("share_location: false goes with mining_type: NONE and without a first stage only")
        unread = [field.name for field, _ in self.spec.loss_param.ListFields() if not field.name.startswith("normaliz")]
        if unread:
            raise SchemaFault(f"loss_param.{unread[0]} has no meaning for boxes: MultiBoxLoss reads normalization only")
        if len(shapes) == 5:
            raise GraphFault("five bottoms: the first stage's scores (bottom 4) come with its locations (bottom 5)")
        asked = list(self.spec.propagate_down) or [True, True]
        self.counts = asked[:2]  # whether location and class loss are in the top: as in SSD, if they propagate down
        return []

    def infer(self, shapes):
        count, _ = check_predictions(shapes, self.spec.multibox_loss_param, self.type)
        if not shapes[3] or shapes[3][-1] != 8:
            raise ShapeFault(f"bottom 3 has shape {shapes[3]}: the objects, (1, 1, G, 8), are expected")
        for i, each in ((4, 2), (5, 4)) if len(shapes) == 6 else ():
            if shapes[i][0] != shapes[0][0] or shapes[i][1:2] != (count * each,):
                raise ShapeFault(f"bottom {i} has shape {shapes[i]}: ({shapes[0][0]}, {count * each}) is expected")
        return [()]

    def forward(self, xs):
        param = self.spec.multibox_loss_param
        locations = xs[0].reshape(len(xs[0]), self.count, self.per_prior, 4)
        scores = xs[1].reshape(len(xs[1]), self.count, param.num_classes)
        priors, variances, hopeful = self._priors(xs)
        dlocations, dscores = self.be.zeros(locations.shape), self.be.zeros(scores.shape)
        loss, matches = 0.0, 0
        for i, objects in enumerate(self._objects(xs[3], len(scores))):
            index, overlaps = self._matches(objects, priors[i], variances, locations[i])
            labels = self._labels(objects, index)
            class_loss, dscores[i] = self._class_loss(scores[i], labels)
            at, place = self.xp.nonzero(index >= 0)
            place_loss, moved = self._location_loss(
                priors[i, at], variances[at], locations[i, at, place], objects.boxes[index[at, place]]
            )
            if self.mines:
                hardness = class_loss
                if param.mining_type == Parameter.HARD_EXAMPLE:
                    hardness = class_loss.copy()
                    hardness[at] += place_loss
                boxes = priors[i] if param.use_prior_for_nms else None
                if boxes is None:
                    boxes = self._predicted(priors[i], variances, locations[i, :, 0])
                chosen = self._chosen(index[:, 0], overlaps, hardness, hopeful[i], boxes)
                class_loss, dscores[i] = class_loss * chosen, dscores[i] * chosen[:, None]
                at, place, place_loss, moved = (array[chosen[at]] for array in (at, place, place_loss, moved))
            dlocations[i, at, place] = param.loc_weight * moved
            matches += len(at)
            loss = loss + self.counts[0] * param.loc_weight * place_loss.sum() + self.counts[1] * class_loss.sum()
        divisor = self.divisor(len(scores), self.count, matches)
        if self.keep:
            self.saved = xs[0].shape, xs[1].shape, dlocations, dscores, divisor
        return [self.be.asarray(loss / divisor)]

    def backward(self, dys, need):
        *shapes, dlocations, dscores, divisor = self.saved
        scale = dys[0] / divisor
        grads = [(dx * scale).reshape(shape) for dx, shape in zip((dlocations, dscores), shapes, strict=True)]
        return [grad if needed else None for grad, needed in zip(grads, need, strict=False)] + [None] * (len(need) - 2)

    def _priors(self, xs):
        """The priors (N, P, 4) of each image, their variances (P, 4), and which of them (N, P) may be negatives."""
        xp, param, images = self.xp, self.spec.multibox_loss_param, len(xs[0])
        priors, variances = split(xp, xs[2])
        if len(xs) < 6:
            every = xp.ones((images, self.count), dtype=bool)
            return xp.broadcast_to(priors, (images, self.count, 4)), variances, every
        refined = decode(xp, param.code_type, priors, variances, xs[5].reshape(images, self.count, 4))
        return refined, variances, xs[4].reshape(images, self.count, 2)[..., 1] >= param.objectness_score

    def _objects(self, rows, images) -> list[Objects]:
        """The objects of each image that count."""
        param, found = self.spec.multibox_loss_param, [([], []) for _ in range(images)]
        for image, label, _, *box, difficult in self.be.to_host(rows).reshape(-1, 8).tolist():
            if image < 0 or (difficult and not param.use_difficult_gt):
                continue
            known = param.map_object_to_agnostic or 0 <= int(label) < param.num_classes
            if int(image) >= images or not known or int(label) == param.background_label_id:
                raise LabelFault(
                    f"an object of class {label:g} in image {image:g}: classes are 0 to {param.num_classes - 1} but "
                    f"for the background, {param.background_label_id}, and images 0 to {images - 1}"
                )
            found[int(image)][0].append(box)
            found[int(image)][1].append(param.background_label_id + 1 if param.map_object_to_agnostic else int(label))
        return [
            Objects(self.be.asarray(boxes).reshape(-1, 4), self.be.asarray(labels, dtype="int64"))
            for boxes, labels in found
        ]

    def _predicted(self, priors, variances, locations):
        """The boxes (P, 4) that these locations (P, 4) say."""
        param = self.spec.multibox_loss_param
        variances = 1 if param.encode_variance_in_target else variances
        return decode(self.xp, param.code_type, priors, variances, locations)

    def _matches(self, objects, priors, variances, locations):
        """(index (P, L) of the object that each box answers for, overlaps (P,) of the last of L)."""
        xp, param, columns = self.xp, self.spec.multibox_loss_param, []
        threshold = param.overlap_threshold if param.match_type == Parameter.PER_PREDICTION else None
        for label in range(self.per_prior):
            own = objects.labels == label if self.per_prior > 1 else None
            boxes = priors if param.use_prior_for_matching else self._predicted(priors, variances, locations[:, label])
            outside = ((boxes < 0) | (boxes > 1)).any(axis=1) if param.ignore_cross_boundary_bbox else None
            common = iou(xp, boxes, objects.boxes)
            if own is not None and not param.use_prior_for_matching:
                common = common * own
            index, overlaps = match(xp, common, threshold, outside)
            if own is not None and len(own):
                index = xp.where((index >= 0) & ~own[xp.maximum(index, 0)], UNMATCHED, index)
            columns.append(index)
        return xp.stack(columns, axis=1), overlaps

    def _labels(self, objects, index):
        """The class (P,) that each prior should say."""
        xp, background = self.xp, self.spec.multibox_loss_param.background_label_id
        labels = xp.full(len(index), background, dtype="int64")
        for column in index.T if len(objects.labels) else ():
            labels = xp.where(column >= 0, objects.labels[xp.maximum(column, 0)], labels)
        return labels

    def _class_loss(self, scores, labels):
        """The loss (P,) of each prior and its gradient (P, classes)."""
        xp, param = self.xp, self.spec.multibox_loss_param
        wanted = (labels[:, None] == xp.arange(param.num_classes)).astype(scores.dtype)
        if param.conf_loss_type == Parameter.LOGISTIC:
            losses = xp.maximum(scores, 0) - scores * wanted + xp.log1p(xp.exp(-xp.abs(scores)))
            return losses.sum(axis=1), 0.5 * (1 + xp.tanh(0.5 * scores)) - wanted
        shifted = scores - scores.max(axis=1, keepdims=True)
        total = xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
        return total[:, 0] - (shifted * wanted).sum(axis=1), xp.exp(shifted - total) - wanted

    def _location_loss(self, priors, variances, locations, boxes):
        """The loss (K,) of K matched priors and its gradient (K, 4)."""
        xp, param = self.xp, self.spec.multibox_loss_param
        target = encode(xp, param.code_type, priors, 1 if param.encode_variance_in_target else variances, boxes)
        off = locations - target
        if param.bp_inside:
            sides = priors if param.use_prior_for_matching else self._predicted(priors, variances, locations)
            off = xp.where((sides < 0) | (sides > 1), 0, off)
        unit = 1 / variances if param.encode_variance_in_target else 1
        off = off * unit
        if param.loc_loss_type == Parameter.L2:
            return (off * off / 2).sum(axis=1), off * unit
        far = xp.abs(off) >= 1
        losses = xp.where(far, xp.abs(off) - 0.5, off * off / 2)
        return losses.sum(axis=1), xp.where(far, xp.sign(off), off) * unit

    def _chosen(self, index, overlaps, losses, hopeful, boxes):
        """Which priors (P,) are learned from."""
        xp, param = self.xp, self.spec.multibox_loss_param
        suppression = param.nms_param if param.HasField("nms_param") else None
        chosen = xp.zeros(self.count, dtype=bool)
        if param.mining_type == Parameter.HARD_EXAMPLE:
            chosen[hardest(self.be, hopeful, losses, param.sample_size, boxes, suppression)] = True
            return chosen & (index >= UNMATCHED)
        eligible = (index == UNMATCHED) & (overlaps < param.neg_overlap) & hopeful
        count = int(float((index >= 0).sum()) * param.neg_pos_ratio)
        chosen[hardest(self.be, eligible, losses, count, boxes, suppression)] = True
        return chosen | (index >= 0)
