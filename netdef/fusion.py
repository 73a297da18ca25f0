"""What layers can take over from those behind them, at no cost and where nobody could tell.

An in-place ReLU: Convolution, Deconvolution and InnerProduct apply it to what they have just computed.  It must be the
only reader of the value before it, which carries no loss.

A Concat's copying: Convolution and Deconvolution write their output where the Concat wants it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from demitasse.netdef.graph import Step, Value


def fuse_relus(steps: Sequence[Step]) -> None:
    """Set `step.relu` where a step may run its ReLU in the same call."""
    for step in steps:
        step.relu = _only_relu(step) if step.cls.fuses_relu else None
        step.relu_slope = slope_of(step.relu) if step.relu else 0.0


def _only_relu(step: Step) -> Step | None:
    if len(step.tops) != 1 or step.tops[0].loss_weight or len(step.tops[0].readers) != 1:
        return None
    relu = step.tops[0].readers[0]
    in_place = relu.layer.relu_slope is not None and relu.tops[0].name == step.tops[0].name
    if not in_place or relu.spec.propagate_down or slope_of(relu) < 0:
        return None
    return relu


def slope_of(relu: Step) -> float:
    """The slope of a ReLU for negative numbers."""
    return relu.layer.relu_slope or 0.0


def join_in_place(steps: Sequence[Step], kept: Collection[str]) -> None:
    """Set `value.join` where a layer may write its output straight into the array of the Concat that joins it.

    kept: names of blobs that have to keep an array of their own.
    """
    for step in steps:
        pieces = step.bottoms if step.cls.concatenates else []
        names = {value.name for value in (*step.tops, *pieces)}
        if len(set(pieces)) == len(pieces) and names.isdisjoint(kept) and all(map(_can_be_placed, pieces)):
            for value in pieces:
                value.join = step


def _can_be_placed(value: Value) -> bool:
    maker = value.producer
    if maker.bottoms and maker.bottoms[0].producer.relu is maker:
        maker = maker.bottoms[0].producer
    return maker.cls.writes_into and len(maker.tops) == 1 and value.join is None
