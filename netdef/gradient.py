"""Who takes part in the backward pass: which layers run backward, and which bottoms get a gradient.

A gradient is worth computing where two things meet: something below wants it (a learned array with
lr_mult other than 0, or propagate_down: true), and a loss above sends it.  force_backward makes every
layer want it and every output send it.
"""

from __future__ import annotations

from collections.abc import Sequence

from demitasse.netdef.graph import Step, Value
from demitasse.netdef.wording import count_text, times_text
from demitasse.proto.errors import GraphFault


def plan_gradients(steps: Sequence[Step], force: bool = False) -> None:
    """Fill in `need` and `backward` of every step (set up already, with its params' lr_mult)."""
    wanted = _wanted_from_below(steps, force)
    _sent_from_above(steps, wanted, force)


def _wanted_from_below(steps: Sequence[Step], force: bool) -> dict[Step, list[bool]]:
    """Downwards through the text: for each bottom of each step, whether its gradient serves anything."""
    carries: set[Value] = set()  # values that something learned has had a part in
    wanted = {}
    for step in steps:
        with step.located:
            wanted[step] = [_wants(step, i, value in carries, force) for i, value in enumerate(step.bottoms)]
        if any(wanted[step]) or learns(step, force):
            carries.update(step.tops)
    return wanted


def _wants(step: Step, index: int, carries: bool, force: bool) -> bool:
    asked = list(step.spec.propagate_down)
    if asked and len(asked) != len(step.bottoms):
        raise GraphFault(
            f"gives propagate_down {times_text(len(asked))} for "
            f"{count_text(len(step.bottoms), 'bottom')}: give one for each bottom, or none"
        )
    if index in step.cls.never_differentiable:
        if asked and asked[index]:
            raise GraphFault(
                f"propagate_down: true for bottom {index} ('{step.bottoms[index].name}'), "
                f"but {step.cls.type} has no gradient there: write false"
            )
        return False
    return force or (asked[index] if asked else carries)


def _sent_from_above(steps: Sequence[Step], wanted: dict[Step, list[bool]], force: bool) -> None:
    """Upwards through the text: a gradient flows where a loss, or with force an output, sends one."""
    reached = {value for step in steps for value in step.tops if value.loss_weight or (force and not value.readers)}
    for step in reversed(steps):
        sent = not reached.isdisjoint(step.tops)
        step.need = [sent and wish for wish in wanted[step]]
        step.backward = sent and (any(step.need) or learns(step, force))
        reached.update(value for value, need in zip(step.bottoms, step.need, strict=True) if need)


def learns(step: Step, force: bool = False) -> bool:
    """Whether the layer has a learned array that wants a gradient."""
    return any(force or param.lr_mult != 0 for param in step.layer.params)
