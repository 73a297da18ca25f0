"""CtcSequenceLoss (ChWick's CTCLoss): CtcLoss of sequences that have lengths of their own.

Bottoms: scores (T, N, C) of T steps; (T, N), 0 where a sequence begins and 1 where it goes on, so that the first 0
after step 0 is behind its end; labels (L, N), negative behind the last one.  The blank is the class blank_index, or the
last one.  A step behind the end says the blank, and gets no gradient.  A CTCLoss of three bottoms is upgraded to it.

Source: "Connectionist Temporal Classification" (Graves et al., 2006), 4.1; the nets of ChWick's fork.
"""

from demitasse.layers.ctc import SumOfWays
from demitasse.proto.errors import SchemaFault, ShapeFault


class CtcSequenceLoss(SumOfWays):
    type = "CtcSequenceLoss"
    fields = ("ctc_sequence_loss_param",)
    bottoms = (3, 3)
    never_differentiable = (1, 2)

    def setup(self, shapes):
        param = self.spec.ctc_sequence_loss_param
        if param.output_delay or param.preprocess_collapse_repeated or not param.ctc_merge_repeated:
            raise SchemaFault(
                "ctc_loss_param of three bottoms is read with ctc_merge_repeated, without output_delay and "
                "preprocess_collapse_repeated: leave them out"
            )
        return []

    def infer(self, shapes):
        scores, goes_on, labels = shapes
        if len(scores) < 3 or set(scores[3:]) - {1} or not scores[0]:
            raise ShapeFault(f"the scores have shape {scores}: (T, N, C) of at least a step are needed")
        for name, shape, wanted in (("bottom 1", goes_on[:2], scores[:2]), ("the labels", labels[1:2], scores[1:2])):
            if shape != wanted:
                raise ShapeFault(
                    f"scores of shape {scores}, bottom 1 of {goes_on}, labels of {labels}: {name} must have as many "
                    f"sequences{' and steps' * (name == 'bottom 1')} as the scores: (T, N) and (L, N)"
                )
        if not -scores[2] <= self.spec.ctc_sequence_loss_param.blank_index < scores[2]:
            raise SchemaFault(
                f"blank_index {self.spec.ctc_sequence_loss_param.blank_index} is none of the {scores[2]} classes"
            )
        return [()]

    def forward(self, xs):
        xp, (scores, goes_on, labels) = self.xp, xs
        steps, items, classes = scores.shape[:3]
        blank = self.spec.ctc_sequence_loss_param.blank_index
        blank = classes - 1 if blank < 0 else blank
        alive = xp.floor(goes_on.reshape(steps, items) + 0.5) != 0
        alive[:1] = True
        ended = xp.cumprod(alive, 0) == 0
        p = self.be.softmax_forward(scores.reshape(steps, items, classes), 2)
        certain = (xp.arange(classes) == blank).astype(p.dtype)
        p = xp.where(ended[..., None], certain, p)
        labels = labels.reshape(len(labels), items)
        labels = xp.where(xp.cumprod(labels >= 0, 0) > 0, xp.floor(labels + 0.5), blank)
        return [self.loss(p, self.packed(labels.T, classes, blank), blank, scores.shape, ended)]
