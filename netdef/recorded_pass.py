"""What a recorded pass is: the stretch of calls that it runs, and what it leaves in the executor and the layers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from demitasse.layers.layer import Array, Layer, Param
from demitasse.netdef.executor import Executor
from demitasse.netdef.graph import Step, Value
from demitasse.netdef.program import Call

MIN_CALLS = 3  # of a stretch that is worth a recording


class Stretch(NamedTuple):
    """The calls that are recorded, and those before and after them."""

    before: list[Call]
    calls: list[Call]
    after: list[Call]
    entries: tuple[Value, ...]  # what the calls read and do not make
    params: list[Param]  # of the calls' layers

    @property
    def steps(self) -> list[Step]:
        """The steps that run in the calls."""
        return [step for call in self.calls for step in call.steps]

    @property
    def entry_bytes(self) -> int:
        """What the entries take, or would as arrays."""
        return sum(4 * math.prod(value.shape) for value in self.entries)

    @property
    def span(self) -> tuple[int, int]:
        """The indices of the first and the last call's step; what a ReLU's step does backward is its call's."""
        return self.calls[0].step.index, self.calls[-1].step.index


class Pass(NamedTuple):
    """A recorded pass over a stretch.  inputs: where it reads what it does not make itself."""

    launched: Any  # contract.Recorded
    inputs: dict[Value, Array]
    made: dict[Value, Array]  # forward: the values that others need; backward: gradients on their way further down
    kept_grads: dict[Value, Array]  # backward: those that stay for reading
    ready: set[Step]  # the steps of the stretch that can go backward afterwards
    layers: list[tuple[Layer, dict[str, Any]]]  # the attributes that the pass has set

    def launch(self, inputs: dict[Value, Array]) -> None:
        """Run it for these inputs, and leave the layers as it has left them."""
        for value, array in inputs.items():
            if array is not self.inputs[value]:
                self.inputs[value][...] = array
        self.launched.launch()
        for layer, attributes in self.layers:
            vars(layer).update(attributes)


def longest_stretch(calls: list[Call], refused: Collection[Step], training: bool) -> Stretch:
    """The longest run of calls that can be recorded; no calls where none is worth it.

    training: whether layers that save something for a backward pass can.
    """
    best, start = (0, 0), 0
    for index, call in enumerate([*calls, None]):
        if call is None or not all(_can_be_recorded(step, refused, training) for step in call.steps):
            best, start = max(best, (start, index), key=lambda span: span[1] - span[0]), index + 1
    begin, end = best if best[1] - best[0] >= MIN_CALLS else (len(calls), len(calls))
    inside = calls[begin:end]
    made = {value for call in inside for value in call.tops}
    read = dict.fromkeys(value for call in inside for value in call.bottoms if value not in made)
    params = [param for call in inside for step in call.steps for param in step.layer.params]
    return Stretch(calls[:begin], inside, calls[end:], tuple(read), params)


def _can_be_recorded(step: Step, refused: Collection[Step], training: bool) -> bool:
    return step.layer.launches_only and step not in refused and (training or not step.layer.keep)


class State:
    """What an executor holds, and every attribute of some layers, at one moment."""

    def __init__(self, executor: Executor, layers: Sequence[Layer]):
        self.layers, sums = layers, executor.sums
        self.made, self.kept_grads, self.ready = dict(executor.made), dict(executor.kept_grads), dict(executor.ready)
        self.sums = {value: sums.get(value) for value in sums.waiting()}
        self.attributes = [dict(vars(layer)) for layer in layers]

    def put_back(self, executor: Executor) -> None:
        """Let the executor and the layers be as they were."""
        pairs: list[tuple[dict, dict]] = [(executor.made, self.made), (executor.kept_grads, self.kept_grads)]
        pairs += [(executor.ready, self.ready)]
        pairs += [(vars(layer), kept) for layer, kept in zip(self.layers, self.attributes, strict=True)]
        for now, before in pairs:
            now.clear()
            now.update(before)
        executor.wholes.clear()
        executor.sums.clear()
        for value, gradient in self.sums.items():
            executor.sums.put(value, gradient)

    def changes_since(self, before: State) -> list[tuple[Layer, dict[str, Any]]]:
        """(layer, the attributes that are other objects now) of the layers that have such."""
        changes = [
            (layer, {name: value for name, value in now.items() if then.get(name, self) is not value})
            for layer, now, then in zip(self.layers, self.attributes, before.attributes, strict=True)
        ]
        return [(layer, attributes) for layer, attributes in changes if attributes]
