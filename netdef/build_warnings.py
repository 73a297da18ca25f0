"""What a net can do but was hardly meant to: told as warnings when it is built, each with its location."""

from __future__ import annotations

from collections.abc import Sequence

from demitasse.netdef.crops import wrong_crops
from demitasse.netdef.data_pairing import unpaired_sources
from demitasse.netdef.fields import own_fields, unread_fields
from demitasse.netdef.graph import Step
from demitasse.proto.warning import warn


def warn_of_net(steps: Sequence[Step], told: set[str]) -> None:
    """Warn of all that a net's layers, set up and sized, show before anything runs.

    told: what `warn_of_layers` has said, which it does not repeat.
    """
    for step in steps:
        if unread := unread_fields(step.spec, step.cls):
            read = f"it reads {' and '.join(own_fields(step.cls)) or 'no such field'}"
            _warn(step, f"{' and '.join(unread)} without effect: {read}")
    warn_of_layers(steps, told)
    for line in (*wrong_crops(steps), *unpaired_sources(steps)):
        warn(line)


def warn_of_layers(steps: Sequence[Step], told: set[str]) -> None:
    """Warn of what the layers themselves find odd in the shapes that they have now."""
    for step in steps:
        for line in step.layer.advice([value.shape for value in step.bottoms]):
            if line not in told:
                told.add(line)
                _warn(step, line)


def heading(step: Step) -> str:
    """How warnings begin: the layer, and where it is written."""
    location = f"{step.where}: " * bool(str(step.where))
    return f"{location}layer {step.label}: "


def _warn(step: Step, line: str) -> None:
    warn(heading(step) + line)
