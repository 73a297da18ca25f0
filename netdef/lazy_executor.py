"""Values that a pass has not kept, computed when somebody asks for them.

pycaffe's blobs can all be looked at after a pass, and mostly nobody does.  So a pass from the first layer on fuses
layers and frees what they have made as if nobody would, and keeps what it has begun from: the inputs, and what layers
have made that would not make the same again (data, random numbers, a user's code).  Whoever asks for another value has
the layers run once more from there, each on its own: every value comes then, to the bit what a net gives that fuses
nothing.

It holds while the weights are those of the pass: who is about to write to them calls `settle` before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property

from demitasse.layers.layer import Array
from demitasse.netdef.call_lock import Lockable
from demitasse.netdef.executor import Executor
from demitasse.netdef.graph import Step, Value
from demitasse.netdef.program import Choices, Program

PATIENCE = 16  # passes that keep all after somebody has written to weights


class LazyExecutor(Executor):
    """An Executor whose blobs can be had after each pass, whether it has kept them or not.

    choices: those of a pass that keeps all: nets that go backward know no other, nor do passes from another layer on.
    net: whose lock is held while something is computed.
    """

    def __init__(self, plan, backend, choices: Choices, net: Lockable):
        super().__init__(plan, backend, choices)
        self._net = net
        can = backend.capabilities
        self._keeping = choices
        self._thrifty = choices._replace(
            stay=frozenset(),
            keeps_all=False,
            fuses=True,
            joins=can.writes_into_out,
            nhwc=can.nhwc,
            repeats=can.repeats,
        )
        self._steps = plan.steps
        self._keeps_until: float = 0  # the pass from which on not everything is kept
        self._wanted: frozenset[Value] | None = frozenset()  # None: all
        self._begun_from: dict[Value, Array] = {}  # copies
        self._absent: frozenset[Value] = frozenset()  # what can be had by running layers again
        self._newest_at: dict[int, frozenset[Value]] = {}
        self._last = -1  # the last step of the pass that they are of

    def expect(self, wanted: Iterable[Value] | None) -> None:
        """Say which values somebody will look at after the next passes; None: any, and weights may be written to."""
        wanted = None if wanted is None else frozenset(wanted)
        if wanted != self._wanted:
            self._wanted = wanted
            self._programs.clear()

    def settle(self) -> None:
        """Compute what the last pass has not kept, since weights are about to change; who does that may do it again."""
        if self._absent or self.passes < self._keeps_until:
            self._keeps_until = self.passes + PATIENCE
        self.complete()

    def run_singly(self) -> None:
        """From now on let every layer run in a call of its own, and keep what it makes."""
        self.complete()
        self.choices = self._keeping
        super().run_singly()
        self._keeping, self._keeps_until = self.choices, math.inf

    def array(self, value: Value) -> Array | None:
        """What the value holds now, in its present shape, or held after the last pass."""
        if value in self._absent and value not in self.made:
            self.complete()
        return super().array(value)

    def holds(self, value: Value) -> bool:
        """Whether a layer has made the value and it can still be had."""
        return value in self.made or value in self._absent

    def forget(self) -> None:
        """Drop what the last run has left."""
        super().forget()
        self._absent = frozenset()

    # -- passes that keep what is wanted -------------------------------------------------------------

    @cached_property
    def _unrepeatable(self) -> list[Value]:
        return [value for step in self._steps if not _repeatable(step) for value in step.tops]

    @cached_property
    def _can_be_lazy(self) -> bool:
        """Whether no layer is to go backward, and what does not come again is there for itself, without a ReLU."""
        return not any(step.layer.keep or (step.layer.fuses_relu and not _repeatable(step)) for step in self._steps)

    def begin_forward(self, first: int, last: int) -> Program:
        """Make ready for steps[first..last], and what to run of them.  What the layers behind these have made stays."""
        self.choices = self._keeping
        if first == 0 and self._can_be_lazy and self._wanted is not None and self.passes >= self._keeps_until:
            self.choices = self._thrifty._replace(stay=self._wanted.union(self._unrepeatable))
        later = self._made_behind(last) if first == 0 and last + 1 < len(self._steps) else {}
        program = super().begin_forward(first, last)
        self.made.update(later)
        return program

    def _made_behind(self, last: int) -> dict[Value, Array]:
        """{value: its array} of the blobs that no layer up to `last` makes."""
        names = {value.name for step in self._steps[: last + 1] for value in step.tops}
        later = [value for step in self._steps[last + 1 :] for value in step.tops if value.name not in names]
        arrays = {value: self.array(value) for value in later if self.holds(value)}
        return {value: array for value, array in arrays.items() if array is not None}

    def end_forward(self, first: int, last: int) -> None:
        """Keep what the pass over steps[first..last], which has run, has begun from."""
        if self.choices is self._keeping:
            return
        self._last, newest = last, self._newest(last)
        for value in (value for value in self._unrepeatable if value.producer.index <= last):
            self._begin_from(value)
            if value not in newest:
                self.made.pop(value, None)
        self._absent = newest.difference(self.made, self.inputs)

    def _newest(self, last: int) -> frozenset[Value]:
        """What the blobs' names mean behind step `last`."""
        if last not in self._newest_at:
            named = {value.name: value for step in self._steps[: last + 1] for value in step.tops}
            self._newest_at[last] = frozenset(named.values())
        return self._newest_at[last]

    def _begin_from(self, value: Value) -> None:
        array = self.array(value)
        if array is None:  # the pass has failed
            self._begun_from.pop(value, None)
        elif value in self._begun_from and self._begun_from[value].shape == array.shape:
            self._begun_from[value][...] = array
        else:
            self._begun_from[value] = array.copy()

    def complete(self) -> None:
        """Compute what the last pass has not kept."""
        if not self._absent:
            return
        with self._net.lock:
            absent, self._absent = self._absent, frozenset()
            values = dict(self._begun_from)
            for step in self._steps[: self._last + 1] if absent else ():
                if _repeatable(step):
                    self._repeat(step, values, absent)
                elif not all(value in values for value in step.tops):
                    return  # here the pass has failed

    def _repeat(self, step: Step, values: dict[Value, Array], absent: frozenset[Value]) -> None:
        with step.located:
            arrays = step.layer.forward([values[value] for value in step.bottoms])
        for value, array in zip(step.tops, arrays, strict=True):
            values[value] = self.backend.to_nchw(array)
            if value in absent:
                self.made.setdefault(value, values[value])  # a script may have put another one there
        for value in step.bottoms:
            if value.readers[-1] is step:
                values.pop(value, None)


def _repeatable(step: Step) -> bool:
    """Whether the layer would make the same again of equal bottoms, and nobody could tell that it has."""
    return step.layer.launches_only and step.layer.repeatable
