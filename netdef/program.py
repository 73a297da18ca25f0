"""A forward pass as data: the calls of a net's layers in order, with where arrays come from, go to, and end.

A call may do more than its layer alone, where nobody could tell:

    an in-place ReLU is the epilogue of the layer before it (a Convolution, InnerProduct, BatchNorm, Eltwise ...), if it
    is the only reader of what that makes, which carries no loss;
    a Convolution or Deconvolution writes its top where the Concat behind it wants it, which then copies nothing.

What a layer can do of this it declares itself (layers/layer.py).  Slots depend on sizes, all else does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from demitasse.layers.layer import Layer
from demitasse.netdef.graph import Step, Value


class Choices(NamedTuple):
    """What holds for every pass of a net.  stay: values kept beside inputs, losses and those that nobody reads."""

    stay: frozenset[Value] = frozenset()
    keeps_all: bool = False  # blobs stay readable and writable: no channels-last tensors among them
    fuses: bool = True  # ReLUs may be epilogues
    joins: bool = False  # layers may write into the array of a Concat: the device does, and nobody wants theirs
    nhwc: bool = False  # the device has channels-last tensors


class Slot(NamedTuple):
    """A part of the array of `size` elements that the Concat `whole` will return; the last one that is written?"""

    whole: Step
    size: int
    start: int
    stop: int
    last: bool


@dataclass(eq=False, slots=True)
class Call:
    """One call of a layer.  step: the layer's; relu: the step of a ReLU that runs in it too."""

    step: Step
    layer: Layer
    bottoms: tuple[Value, ...]
    tops: tuple[Value, ...]  # the ReLU's, if there is one
    relu: Step | None
    epilogue: dict[str, Any]  # what the layer is to apply to its top: {"relu": slope}, or nothing
    bottoms_to_nchw: bool  # the layer takes no channels-last tensors
    tops_to_nchw: bool  # those who look at blobs want none
    slot: Slot | None = None  # where it is to write its top
    frees: tuple[Value, ...] = ()  # nobody reads them after it


@dataclass(eq=False, slots=True)
class Program:
    """The calls of a pass, and by which of them each step runs; steps whose tops the user gives have none."""

    calls: list[Call]
    by_step: dict[Step, Call] = field(default_factory=dict)

    def __post_init__(self):
        for call in self.calls:
            self.by_step[call.step] = call
            if call.relu is not None:
                self.by_step[call.relu] = call


def compile_program(steps: Sequence[Step], choices: Choices) -> Program:
    """The calls of these steps, which follow each other and are set up and sized."""
    relus = {step: relu for step in steps if choices.fuses and (relu := _epilogue(step)) is not None}
    relus = {step: relu for step, relu in relus.items() if relu.index <= steps[-1].index}
    absorbed = set(relus.values())
    calls = [_call(step, relus.get(step), choices) for step in steps if not (step.is_input or step in absorbed)]
    if choices.joins:
        _place_pieces(calls, choices.stay)
    return Program(calls)


def _call(step: Step, relu: Step | None, choices: Choices) -> Call:
    return Call(
        step,
        step.layer,
        tuple(step.bottoms),
        tuple(step.tops if relu is None else relu.tops),
        relu,
        {} if relu is None else {"relu": relu.layer.relu_slope},
        choices.nhwc and not step.layer.takes_nhwc,
        choices.nhwc and choices.keeps_all,
        frees=tuple(value for value in dict.fromkeys(step.bottoms) if _ends_at(value, step, choices.stay)),
    )


def _ends_at(value: Value, step: Step, stay: frozenset[Value]) -> bool:
    lasts = value.producer.is_input or value.loss_weight or value in stay
    return value.readers[-1] is step and not lasts


def _epilogue(step: Step) -> Step | None:
    """The ReLU that the step's layer could apply to its top."""
    if not step.cls.fuses_relu or len(step.tops) != 1 or step.tops[0].loss_weight or len(step.tops[0].readers) != 1:
        return None
    relu = step.tops[0].readers[0]
    slope, in_place = relu.layer.relu_slope, relu.tops[0].name == step.tops[0].name
    return None if slope is None or slope < 0 or not in_place or relu.spec.propagate_down else relu


def _place_pieces(calls: Sequence[Call], stay: frozenset[Value]) -> None:
    """Give slots to the calls that make all that a Concat joins; a value lies in one Concat's array at most."""
    makers = {value: call for call in calls for value in call.tops}
    for join in calls:
        pieces = [makers[value] for value in join.bottoms if value in makers]
        if stay.isdisjoint((*join.tops, *join.bottoms)) and _can_be_placed(join, pieces):
            start, size, last = 0, math.prod(join.tops[0].shape), max(call.step.index for call in pieces)
            for call in pieces:
                stop = start + math.prod(call.tops[0].shape)
                call.slot = Slot(join.step, size, start, stop, call.step.index == last)
                start = stop


def _can_be_placed(join: Call, pieces: Sequence[Call]) -> bool:
    axis = join.layer.joins_along
    if axis is None or len(set(pieces)) != len(join.bottoms):
        return False
    shape = join.tops[0].shape
    one_block = math.prod(shape[:axis]) == 1  # else the pieces of several images alternate
    whole = math.prod(shape) == sum(math.prod(value.shape) for value in join.bottoms)
    free = all(call.layer.writes_into and len(call.tops) == 1 and call.slot is None for call in pieces)
    return one_block and whole and free
