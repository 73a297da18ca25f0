"""Whether a net fits into the host's memory, by what it must hold at the very least.

Systems promise more memory than they have and end the process that asks for it; so this is asked before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from demitasse.netdef.graph import Step, Value
from demitasse.proto.errors import ShapeFault
from demitasse.proto.memory import bytes_text, memory_left

VALUE_BYTES = 4  # float32
SMALL = 1 << 28  # what fits everywhere is not looked up


def require_memory(steps: Sequence[Step], trains: bool) -> None:
    """ShapeFault, in the layer that holds most, where the weights and blobs of a net cannot fit."""
    weights = VALUE_BYTES * sum(
        param.count * (1 + (trains and param.lr_mult != 0))
        for param in {param.name or id(param): param for step in steps for param in step.layer.params}.values()
    )
    at_once, step = max(((_at_once(step), step) for step in steps), key=lambda pair: pair[0])
    # A learned layer's bottoms are needed again for the gradients of its weights.
    saved = (
        _bytes(
            value
            for step in steps
            if step.backward and any(param.lr_mult for param in step.layer.params)
            for value in step.bottoms
        )
        if trains
        else 0
    )
    blobs = max(at_once, saved)
    if weights + blobs <= SMALL:
        return
    left = memory_left()
    if left is None or weights + blobs <= left:
        return
    if weights > blobs:
        step = max(steps, key=lambda step: sum(param.count for param in step.layer.params))
        remedy = "fewer or smaller layers"
    else:
        remedy = "smaller images or a smaller batch"
    what = "weights and gradients" if trains else "weights"
    with step.located:
        raise ShapeFault(
            f"not enough memory: the net needs {bytes_text(weights)} for {what} and at least "
            f"{bytes_text(blobs)} for blobs (the largest are here), and {bytes_text(left)} are left: "
            f"use {remedy}"
        )


def _at_once(step: Step) -> int:
    """What is there while the layer runs: its bottoms, or its tops; some tops are views of bottoms."""
    return max(_bytes(step.bottoms), _bytes(step.tops))


def _bytes(values: Iterable[Value]) -> int:
    return VALUE_BYTES * sum(math.prod(value.shape) for value in set(values))
