"""Crop layers that say no offset: 0 in Caffe, but computed from the coordinates in the forks where FCN began.

Nets written for those (HED, CRF-RNN, the first FCNs) build here too, and are off by tens of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from demitasse.netdef.coords import above_value, crop_offset, map_between
from demitasse.netdef.graph import Step
from demitasse.netdef.wording import some
from demitasse.proto.errors import GraphFault


def set_offset(step: Step) -> None:
    """Write the offset that the coordinates ask for into a Crop without crop_param, before it is set up.

    GraphFault where no offset cuts one bottom to lie under the other.
    """
    if _says_none(step):
        cut, like = step.bottoms
        axis, offsets = crop_offset(map_between(cut, like, above_value))
        step.spec.crop_param.axis = axis
        step.spec.crop_param.offset.extend(offsets)


def wrong_crops(steps: Sequence[Step]) -> list[str]:
    """One line for the net, where Crop layers without crop_param cut elsewhere than the coordinates say."""
    wrong = [(step, offsets) for step in steps if (offsets := _asked_for(step)) not in ([], [0])]
    if not wrong:
        return []
    location = f"{wrong[0][0].where}: " * bool(str(wrong[0][0].where))
    named = some((f"'{step.name}' {', '.join(map(str, offsets))}" for step, offsets in wrong), len(wrong))
    return [
        f"{location}Crop without crop_param cuts from offset 0 on, but the coordinates of the bottoms ask for another: "
        f"{named}; write crop_param {{ offset: ... }}, or build the net with auto_crop=True (commands: --auto-crop), "
        "as the forks of Caffe that computed it"
    ]


def _says_none(step: Step) -> bool:
    return step.cls.crops and not step.spec.HasField("crop_param")


def _asked_for(step: Step) -> list[int]:
    """The offsets by the coordinates; nothing where the layer says its own, or none would do."""
    if not _says_none(step):
        return []
    cut, like = step.bottoms
    try:
        return crop_offset(map_between(cut, like, above_value))[1]
    except GraphFault:
        return []
