"""Which in-place ReLUs can be run inside the layer before them.

Convolution, Deconvolution and InnerProduct can apply a ReLU to what they have just computed at no cost.
That is allowed where nobody could tell: the ReLU works in place and is the only reader of the value
before it, which carries no loss.
"""

from __future__ import annotations

from collections.abc import Sequence

from netdef.graph import Step


def fuse_relus(steps: Sequence[Step]) -> None:
    """Set `step.relu` where a step may run its ReLU in the same call."""
    for step in steps:
        step.relu = _only_relu(step) if getattr(step.cls, "fuses_relu", False) else None


def _only_relu(step: Step) -> Step | None:
    if len(step.tops) != 1 or step.tops[0].loss_weight or len(step.tops[0].readers) != 1:
        return None
    relu = step.tops[0].readers[0]
    in_place = relu.spec.type == "ReLU" and relu.tops[0].name == step.tops[0].name
    if not in_place or relu.spec.propagate_down or slope_of(relu) < 0:
        return None
    return relu


def slope_of(relu: Step) -> float:
    """The slope of a ReLU for negative numbers."""
    return relu.spec.relu_param.negative_slope
