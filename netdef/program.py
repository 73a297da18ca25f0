"""A forward pass as data: the calls of a net's layers in order, with where arrays come from, go to, and end.

A call may do more than its layer alone, where nobody could tell:

    an in-place ReLU is the epilogue of the layer before it (a Convolution, InnerProduct, BatchNorm, Eltwise ...), if it
    is the only reader of what that makes, which carries no loss;
    so are layers that scale and shift every channel (BatchNorm, Scale ...) and a PReLU, where nobody goes backward or
    looks at what is between;
    so is an Eltwise SUM of what a Convolution makes (scaled and shifted, before its ReLU) and of what is there already,
    a residual;
    a convolution leaves out of its top the lines that repeat others, where only convolutions and poolings read it;
    a layer writes its top where the Concat behind it wants it, which then does not copy it: of a chain of Concats, each
    of which adds to the one before (DenseNet), all lie in the array of the last one.

What a layer can do of this it declares itself (layers/layer.py).  Slots depend on sizes, all else does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from demitasse.layers.affine import composed
from demitasse.layers.layer import Layer
from demitasse.netdef.graph import Step, Value


class Choices(NamedTuple):
    """What holds for every pass of a net.  stay: values kept beside inputs, losses and those that nobody reads."""

    stay: frozenset[Value] = frozenset()
    keeps_all: bool = False  # blobs stay readable and writable: no channels-last tensors among them
    fuses: bool = True  # ReLUs may be epilogues
    composes: bool = False  # layers with numbers for every channel may be epilogues: not theirs to the last bit
    joins: bool = False  # layers may write into the array of a Concat: the device does, and nobody wants theirs
    nhwc: bool = False  # the device has channels-last tensors
    repeats: bool = False  # the device has images without repeated lines


class Slot(NamedTuple):
    """A part of the array of `size` elements that the Concat `whole` will return."""

    whole: Step
    size: int
    start: int
    stop: int


class Epilogue(NamedTuple):
    """Steps that run in the call of the layer before them: those that scale and shift channels, a sum with a residual,
    then a ReLU or (without a residual) PReLU.

    learned: whether something of it may have changed since the last run.
    """

    affines: tuple[Step, ...] = ()
    sum: Step | None = None
    residual: Value | None = None
    relu: Step | None = None
    learned: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, in order."""
        return *self.affines, *(step for step in (self.sum, self.relu) if step is not None)

    def options(self) -> dict[str, Any]:
        """What forward and backward of the layer take beside arrays."""
        options: dict[str, Any] = {}
        if self.affines:
            options["affine"] = composed(self.affines[0].layer.be, *[step.layer.affine() for step in self.affines])
        if self.relu is not None:
            options["relu"] = self.relu.layer.relu_slope
        return options


@dataclass(eq=False, slots=True)
class Call:
    """One call of a layer.  step: the layer's; tops: those of the last step that runs in it."""

    step: Step
    layer: Layer
    bottoms: tuple[Value, ...]  # the layer's, then the residual of the epilogue
    tops: tuple[Value, ...]
    epilogue: Epilogue
    options: dict[str, Any]  # those of the epilogue, unless they are learned
    bottoms_to_nchw: bool  # the layer takes no channels-last tensors
    tops_to_nchw: bool  # those who look at blobs want none
    repeats: bool = False  # its top may be without repeated lines
    slot: Slot | None = None  # where it is to write its top
    frees: tuple[Value, ...] = ()  # nobody reads them after it

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that run in it, in order."""
        return self.step, *self.epilogue.steps


@dataclass(eq=False, slots=True)
class Program:
    """The calls of a pass, and by which of them each step runs; steps whose tops the user gives have none."""

    calls: list[Call]
    by_step: dict[Step, Call] = field(default_factory=dict)

    def __post_init__(self):
        self.by_step.update((step, call) for call in self.calls for step in call.steps)


def compile_program(steps: Sequence[Step], choices: Choices) -> Program:
    """The calls of these steps, which follow each other and are set up and sized."""
    calls: list[Call] = []
    absorbed: set[Step] = set()
    for step in steps:
        if not (step.is_input or step in absorbed):
            calls.append(_call(step, _epilogue(step, choices, steps[-1].index), choices))
            absorbed.update(calls[-1].epilogue.steps)
    _free(calls, choices.stay)
    if choices.repeats:
        _leave_out_lines(calls)
    if choices.joins:
        _place_pieces(calls, choices.stay)
    return Program(calls)


def _call(step: Step, epilogue: Epilogue, choices: Choices) -> Call:
    *_, last = step, *epilogue.steps
    return Call(
        step,
        step.layer,
        tuple(step.bottoms) if epilogue.residual is None else (*step.bottoms, epilogue.residual),
        tuple(last.tops),
        epilogue,
        {} if epilogue.learned else epilogue.options(),
        choices.nhwc and not step.layer.takes_nhwc,
        choices.nhwc and choices.keeps_all,
    )


def _free(calls: Sequence[Call], stay: frozenset[Value]) -> None:
    """Let each value be freed by the last call that reads it, if no step behind these reads it."""
    read: set[Value] = set()
    last = max((step.index for call in calls for step in call.steps), default=0)
    for call in reversed(calls):
        here = dict.fromkeys(call.bottoms)
        ends = [value for value in here if value not in read and value.readers[-1].index <= last]
        call.frees = tuple(v for v in ends if not (v.producer.is_input or v.loss_weight or v in stay))
        read.update(here)


def _leave_out_lines(calls: Sequence[Call]) -> None:
    """Let tops be without repeated lines where those who read them take them so, and nobody else can see them."""
    readers: dict[Value, list[Call]] = {}
    for call in calls:
        for value in call.bottoms:
            readers.setdefault(value, []).append(call)
    freed = {value for call in calls for value in call.frees}
    for call in calls:
        if _takes_repeated(call) and len(call.tops) == 1 and call.tops[0] in freed:
            call.repeats = all(map(_takes_repeated, readers[call.tops[0]]))


def _takes_repeated(call: Call) -> bool:
    """Whether the call takes and gives images without repeated lines."""
    return call.layer.takes_repeated and call.epilogue.residual is None


def _epilogue(step: Step, choices: Choices, last: int) -> Epilogue:
    """What of the steps behind it, up to number `last`, the step's layer could apply to its top at once."""
    if not choices.fuses or len(step.tops) != 1:
        return Epilogue()
    affines: list[Step] = []
    value = step.tops[0]
    while (after := _only_reader(value, last)) and choices.composes and _takes_affine(step, value, after, choices.stay):
        affines.append(after)
        (value,) = after.tops
    if after and _takes_prelu(step, value, after, choices):
        return Epilogue(tuple(affines), relu=after, learned=True)
    sum_, residual = None, None
    if after and choices.composes and _takes_residual(step, value, after, choices.stay):
        sum_, (residual,) = after, (each for each in after.bottoms if each is not value)
        (value,) = after.tops
        after = _only_reader(value, last)
    relu = after if after and _takes_relu(step, value, after, choices.stay) else None
    return Epilogue(tuple(affines), sum_, residual, relu, bool(affines))


def _only_reader(value: Value, last: int) -> Step | None:
    """The step up to number `last` that reads the value, if nobody else wants it and it makes something of it."""
    if value.loss_weight or len(value.readers) != 1 or value.readers[0].index > last:
        return None
    return value.readers[0] if value.readers[0].tops else None


def _unseen(step: Step, value: Value, after: Step, stay: frozenset[Value]) -> bool:
    """Whether nobody asks for the value between the two steps, nor for gradients."""
    return not (step.layer.keep or after.layer.keep or value in stay) and len(after.tops) == 1


def _takes_affine(step: Step, value: Value, after: Step, stay: frozenset[Value]) -> bool:
    return step.layer.fuses_affine and after.layer.is_affine and _unseen(step, value, after, stay)


def _takes_prelu(step: Step, value: Value, after: Step, choices: Choices) -> bool:
    wanted = choices.composes and step.layer.fuses_affine and after.layer.is_prelu
    return wanted and _unseen(step, value, after, choices.stay)


def _takes_residual(step: Step, value: Value, after: Step, stay: frozenset[Value]) -> bool:
    """Whether the step after it adds to the value one that has been made before it."""
    if not (step.layer.fuses_residual and after.layer.is_sum and _unseen(step, value, after, stay)):
        return False
    return len(after.bottoms) == 2 and all(each is value or each.producer.index < step.index for each in after.bottoms)


def _takes_relu(step: Step, value: Value, after: Step, stay: frozenset[Value]) -> bool:
    layer, in_place = after.layer, after.tops[0].name == value.name
    if not step.layer.fuses_relu or layer.is_prelu or layer.relu_slope is None or layer.relu_slope < 0:
        return False
    return (in_place and not after.spec.propagate_down) or _unseen(step, value, after, stay)


def _place_pieces(calls: Sequence[Call], stay: frozenset[Value]) -> None:
    """Give slots to what Concats join, the last Concat first: an earlier one may be a piece of it."""
    makers = {value: call for call in calls for value in call.tops}
    for join in reversed(calls):
        if not _joins(join):
            continue
        (top,) = join.tops
        size, stop = math.prod(top.shape), 0
        slot = join.slot or Slot(join.step, size, 0, size)
        for value in join.bottoms:
            start, stop = stop, stop + math.prod(value.shape)
            call = makers.get(value)
            if call and _can_be_placed(call, value, stay):
                join.slot = slot
                call.slot = slot._replace(start=slot.start + start, stop=slot.start + stop)


def _joins(call: Call) -> bool:
    """Whether the call's top is its bottoms one after the other in memory."""
    axis = call.layer.joins_along
    if axis is None or math.prod(call.tops[0].shape[:axis]) != 1:  # else the pieces of several images alternate
        return False
    return math.prod(call.tops[0].shape) == sum(math.prod(value.shape) for value in call.bottoms)


def _can_be_placed(call: Call, value: Value, stay: frozenset[Value]) -> bool:
    """Whether the call can write the value, its only top, into a larger array; it lies in one at most."""
    free = call.slot is None and not (call.repeats or value in stay or value.loss_weight)
    return free and call.layer.writes_into and len(call.tops) == 1
