"""CtcLoss (CRNN): how improbable a sequence of labels is, where nobody knows which step shows which label.

Bottoms: scores (T, N, C) of T steps, labels (N, L), filled up with `blank_label`.  Of the T steps each says a label, or
the blank; a run of one label is read as one, blanks are left out.  The top is -log of the sum of the softmax
probabilities of all ways to say the item's labels, averaged over the batch.  Labels that T steps cannot say cost 0.

Source: "Connectionist Temporal Classification" (Graves et al., 2006), 4.1.
"""

from demitasse.layers.ctc import SumOfWays
from demitasse.proto.errors import SchemaFault, ShapeFault


class CtcLoss(SumOfWays):
    type = "CtcLoss"
    fields = ("ctc_loss_param",)

    def infer(self, shapes):
        (scores, labels), param = shapes, self.spec.ctc_loss_param
        if len(scores) < 3 or set(scores[3:]) - {1} or len(labels) < 2 or labels[0] != scores[1]:
            raise ShapeFault(f"scores of shape {scores} and labels of shape {labels}: give (T, N, C) and (N, L)")
        if not scores[0]:
            raise ShapeFault(f"scores of shape {scores} have no steps")
        for field, size in (("time_step", scores[0]), ("alphabet_size", scores[2])):
            if param.HasField(field) and getattr(param, field) != size:
                raise SchemaFault(
                    f"ctc_loss_param.{field} is {getattr(param, field)}, but the scores {scores} say {size}"
                )
        if not 0 <= param.blank_label < scores[2]:
            raise SchemaFault(f"blank_label {param.blank_label} is none of the {scores[2]} classes")
        return [()]

    def forward(self, xs):
        blank = self.spec.ctc_loss_param.blank_label
        p = self.be.softmax_forward(xs[0].reshape(xs[0].shape[:3]), 2)
        return [self.loss(p, self.packed(xs[1], xs[0].shape[2], blank), blank, xs[0].shape)]
