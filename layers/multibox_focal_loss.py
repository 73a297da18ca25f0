"""MultiBoxFocalLoss: MultiBoxLoss whose class loss counts less what is right already, in the place of mining.

Where a prior's class has the probability p its loss is -alpha * (1 - p) ** gamma * log(p), for the background as for
the others.  Bottoms, matching and divisor are those of MultiBoxLoss; nets give it mining_type: NONE.

Source: "Focal Loss for Dense Object Detection" (Lin et al., 2017), section 3; the prototxts of SSD's forks.
"""

from demitasse.layers.multibox_loss import MultiBoxLoss
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import MultiBoxLossParameter


class MultiBoxFocalLoss(MultiBoxLoss):
    type = "MultiBoxFocalLoss"
    fields = ("multibox_loss_param", "focal_loss_param", "loss_param")

    def setup(self, shapes):
        param = self.spec.focal_loss_param
        if not (param.gamma >= 0 and param.alpha > 0):
            raise SchemaFault(
                f"focal_loss_param has gamma {param.gamma:g} and alpha {param.alpha:g}: gamma is 0 or more, alpha "
                "above 0 (2 and 0.25 in the paper)"
            )
        if self.spec.multibox_loss_param.conf_loss_type != MultiBoxLossParameter.SOFTMAX:
            raise SchemaFault("conf_loss_type: LOGISTIC has no focal form here: write SOFTMAX, or take MultiBoxLoss")
        return super().setup(shapes)

    def _class_loss(self, scores, labels):
        xp, param = self.xp, self.spec.focal_loss_param
        losses, slopes = super()._class_loss(scores, labels)  # -log p, and the softmax less 1 for the class
        p = xp.exp(-losses)
        missing = xp.maximum(1 - p, xp.finfo(scores.dtype).tiny)
        factor = param.alpha * missing**param.gamma
        growth = param.alpha * param.gamma * p * missing ** (param.gamma - 1) * losses
        return (factor * losses).astype(scores.dtype), (slopes * (factor + growth)[:, None]).astype(scores.dtype)
