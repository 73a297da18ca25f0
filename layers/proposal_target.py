"""ProposalTarget (MS-CNN, Cascade R-CNN): which regions a detector learns from, and what.

Bottoms: rois (R, 5), a row (image, x1, y1, x2, y2), and true boxes (G, 7 or more), a row (image, x1, y1, x2, y2, class,
ignored, ...), of which those of image -1 are none.  True boxes are proposed too (append_gtbox).  A region that overlaps
with its best box by fg_thr or more is of its class, unless that is ignored; one by less than bg_thr_hg and at least
bg_thr_lw is background; of both, batch_size are drawn, fg_fraction of them objects at most.  Where there are too few
others are background, too (pickup_discard).

Tops, S rows each: rois (5); classes (1); the way to the box, normalised as bbox_reg_param says, in the columns of the
class (4 cls_num; with cls_aware: false in the last four of 8); inside weights and outside weights of these; the box
that was matched (class, x1, y1, x2, y2, overlap), 0 for the background; and, if named, a weight (1), such that objects
weigh fg_fraction of all (iou_weighted: each by its overlap).  Nothing gets a gradient.

Source: "Fast R-CNN" (Girshick, 2015), 2.3; "Cascade R-CNN" (Cai and Vasconcelos, 2018), 4; their prototxts.
"""

import math

from demitasse.layers.boxes import encode, iou
from demitasse.layers.field_boxes import normalisation
from demitasse.layers.layer import Layer
from demitasse.proto.errors import DataFault, LabelFault, SchemaFault, ShapeFault

PIXEL = 1.0  # corners name the first and the last pixel
LEAST_SIDE, TRIALS = 32, 1000  # of a box that is drawn where there is no region at all


class ProposalTarget(Layer):
    type = "ProposalTarget"
    fields = ("proposal_target_param", "bbox_reg_param")
    bottoms, tops = (2, 2), (6, 7)
    never_differentiable = (0, 1)
    shapes_from_data = True

    def setup(self, shapes):
        param = self.param = self.spec.proposal_target_param
        self.regression = normalisation(self.spec.bbox_reg_param)
        if param.cls_num < 2 or not (param.batch_size == -1 or param.batch_size > 0):
            raise SchemaFault("give cls_num, 2 or more with the background, and a batch_size above 0, or -1 for all")
        if param.fg_thr < param.bg_thr_hg:
            raise SchemaFault(f"fg_thr {param.fg_thr:g} is below bg_thr_hg {param.bg_thr_hg:g}: a region would be both")
        self.columns = param.cls_num if self.spec.bbox_reg_param.cls_aware else 2
        return []

    def infer(self, shapes):
        sizes = [math.prod(shape[1:]) for shape in shapes]
        if not all(shapes) or sizes[0] != 5 or sizes[1] < 7:
            raise ShapeFault(f"bottoms of shapes {shapes}: rois (R, 5) and true boxes (G, 7 or more) are needed")
        most = shapes[0][0] + shapes[1][0] * self.param.append_gtbox
        count = max(1, most if self.param.batch_size == -1 else self.param.batch_size)
        wide = 4 * self.columns
        widths = (5, 1, wide, wide, wide, 6, 1)[: max(6, len(self.spec.top))]
        return [(count, width, 1, 1) for width in widths]

    def forward(self, xs):
        xp, param = self.xp, self.param
        rois, truth = (x.reshape(len(x), math.prod(x.shape[1:])) for x in xs)
        truth = truth[truth[:, 0] >= 0]
        self._check(rois, truth)
        if param.append_gtbox:
            rois = xp.concatenate([rois, truth[:, :5]])
        match, overlap = self._matched(rois, truth)
        own, others = self._sampled(match, overlap, truth)
        if not len(own) + len(others):
            rois = xp.concatenate([rois, self._anywhere(truth)])
            others = xp.asarray([len(rois) - 1])
        chosen, objects = xp.concatenate([own, others]), len(own)
        match = match[own]
        boxes = truth[match, 1:6]
        labels = self.be.zeros((len(chosen), 1))
        labels[:objects, 0] = boxes[:, 4]
        matched = self.be.zeros((len(chosen), 6))
        matched[:objects] = xp.concatenate([boxes[:, 4:], boxes[:, :4], overlap[own][:, None]], axis=1)
        tops = [rois[chosen], labels, *self._targets(rois[own, 1:], boxes, overlap[own], len(chosen)), matched]
        if len(self.spec.top) > 6:
            tops.append(self._weights(matched, objects))
        return [top.reshape(*top.shape, 1, 1) for top in tops]

    def backward(self, dys, need):
        return [None] * len(need)

    def _check(self, rois, truth) -> None:
        """LabelFault, DataFault for classes and images that there are not."""
        param = self.param
        if len(truth) and not 0 < int(truth[:, 5].min()) <= int(truth[:, 5].max()) < param.cls_num:
            raise LabelFault(
                f"a true box has a class that is not of 1 to {param.cls_num - 1} (cls_num {param.cls_num})"
            )
        images = max((int(each[:, 0].max()) for each in (rois, truth) if len(each)), default=0)
        if images >= param.num_img_per_batch:
            raise DataFault(f"a region is of image {images}, but num_img_per_batch is {param.num_img_per_batch}")

    def _matched(self, rois, truth):
        """(index, overlap), each (R,), of the true box of its image that each region overlaps most with."""
        xp = self.xp
        if not len(truth):
            return xp.zeros(len(rois), "int64"), xp.zeros(len(rois), rois.dtype)
        same = rois[:, :1].astype("int32") == truth[:, 0].astype("int32")
        overlaps = iou(xp, rois[:, 1:], truth[:, 1:5], PIXEL) * same
        return overlaps.argmax(axis=1), overlaps.max(axis=1)

    def _sampled(self, match, overlap, truth):
        """The indices of the regions that count, those of objects and the others."""
        xp, param = self.xp, self.param
        objects = overlap >= param.fg_thr
        ignored = truth[match, 6] == 1 if len(truth) else objects
        background = ~objects & (overlap >= param.bg_thr_lw) & (overlap < param.bg_thr_hg)
        own, others, rest = (xp.nonzero(each)[0] for each in (objects & ~ignored, background, ~objects & ~background))
        if param.batch_size == -1:
            return own, others
        own = self._drawn(own, int(param.fg_fraction * param.batch_size + 0.5))
        left = param.batch_size - len(own)
        if len(others) <= left and param.pickup_discard:
            return own, xp.concatenate([others, rest[: left - len(others)]])
        return own, self._drawn(others, left)

    def _drawn(self, indices, count: int):
        """So many of the indices."""
        if len(indices) <= count:
            return indices
        return indices[self.xp.asarray(self.be.rng.permutation(len(indices))[:count])]

    def _anywhere(self, truth):
        """A box (1, 5) that overlaps with no true one by fg_thr."""
        param, rng = self.param, self.be.rng
        if min(param.img_width, param.img_height) <= LEAST_SIDE:
            raise DataFault("no region is left to learn from; give img_width and img_height, where one may be drawn")
        for _ in range(TRIALS):
            image, x, y = (
                int(rng.integers(n))
                for n in (param.num_img_per_batch, param.img_width - LEAST_SIDE, param.img_height - LEAST_SIDE)
            )
            wide, high = (max(LEAST_SIDE, int(rng.integers(n))) for n in (param.img_width - x, param.img_height - y))
            box = self.be.asarray([[image, x, y, x + wide - 1, y + high - 1]])
            if not len(truth) or float(self._matched(box, truth)[1].max()) < param.fg_thr:
                return box
        raise DataFault("no region is left to learn from, and none of the background was found")

    def _targets(self, rois, boxes, overlap, count: int):
        """Targets, inside weights and outside weights (count, 4 columns); of the rows (K, 4) of objects, the first."""
        xp, param = self.xp, self.param
        targets, weights = (self.be.zeros((count, self.columns, 4)) for _ in range(2))
        mean, deviation = (xp.asarray(numbers, rois.dtype) for numbers in self.regression)
        row, column = xp.arange(len(rois)), xp.minimum(boxes[:, 4].astype("int32"), self.columns - 1)
        targets[row, column] = (encode(xp, rois, boxes[:, :4], PIXEL) - mean) / deviation
        weights[row, column] = ((overlap >= param.bbox_thr_lw) & (overlap <= param.bbox_thr_hg))[:, None]
        targets, weights = targets.reshape(count, -1), weights.reshape(count, -1)
        return targets, weights, weights

    def _weights(self, matched, objects: int):
        """(S, 1) of rows of which the first are objects."""
        xp, share, count = self.xp, self.param.fg_fraction, len(matched)
        weights = (
            xp.where(matched[:, 5:] > 0, matched[:, 5:], 1) if self.param.iou_weighted else xp.ones_like(matched[:, 5:])
        )
        if not objects:
            return weights
        own, others = weights[:objects].sum(), max(1, count - objects)
        scale = xp.where(xp.arange(count)[:, None] < objects, share / own, (1 - share) / others)
        return (weights * scale * count).astype(matched.dtype)
