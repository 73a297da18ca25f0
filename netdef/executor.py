"""The arrays of a net from forward to backward: what is alive, what has run, gradients on their way down.

A forward pass is a list of calls (netdef/program.py), compiled once for each set of sizes; the executor runs it.
Memory follows the list: a value is dropped after its last reader, what a layer has saved after its backward, a
gradient once its producer has taken it.  Layers keep what they need themselves (`saved`), so values can go even where
a backward pass follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from demitasse.layers.layer import Array, Shape
from demitasse.netdef.blobs import Blobs, Gradients
from demitasse.netdef.graph import Step, Value
from demitasse.netdef.inputs import Inputs
from demitasse.netdef.plan import Plan
from demitasse.netdef.program import Call, Choices, Program, Slot, compile_program
from demitasse.netdef.wording import shape_text
from demitasse.proto.errors import GraphFault

KEEPING = "keep=[...] names blobs to keep, keep='all' keeps every one"


class Executor:
    """One net's arrays, and its passes over them."""

    def __init__(self, plan: Plan, backend, choices: Choices):
        self.plan, self.backend, self.choices = plan, backend, choices
        self._programs: dict[tuple, Program] = {}  # of the present sizes, by the first and the last step and choices
        self._sizes = plan.sizes  # which sizes those are
        self.on_made: dict[Value, Callable[[Value], None]] = {}  # called as soon as the value has been made
        self.inputs = Inputs(backend)  # what the user gave, for good
        self.made: dict[Value, Array] = {}  # what the layers have made and somebody still needs
        self.borrowed: dict[Value, Array] = {}  # what the next recorded pass will write to, some of it in `made`
        self.wholes: dict[Step, Array] = {}  # what Concats will return, while its pieces are being made
        self.passes = 0  # that have begun, forward and backward
        self.moved = False  # whether a size has shown only on the way: then slots do not count
        self._calls: dict[Step, Call] = {}  # by which call each step ran last
        self.ready: dict[Step, list[Shape] | None] = {}  # steps that can go backward: the bottom shapes they ran at
        self.sums = Gradients(backend)  # gradients on their way down
        self.kept_grads: dict[Value, Array] = {}  # gradients kept for reading
        values: dict[str, list[Value]] = {}
        for value in plan.values:
            values.setdefault(value.name, []).append(value)
        newest_first = {name: found[::-1] for name, found in values.items()}
        self.blobs = Blobs(newest_first, self.array, f"holds nothing now: run forward; {KEEPING}")
        self.grads = Blobs(values, self.gradient, f"has no gradient now: run backward; {KEEPING}")

    # -- values ------------------------------------------------------------------------------------

    def array(self, value: Value) -> Array | None:
        """What the value holds now, in its present shape.  An input that nobody has set holds zeros."""
        return self.inputs.array(value) if value.producer.is_input else self._as_nchw(value, self.made)

    def holds(self, value: Value) -> bool:
        """Whether a layer has made the value and it is still there."""
        return value in self.made

    def _as_nchw(self, value: Value, held: dict[Value, Array]) -> Array | None:
        """What is held, which from now on is an array: whoever has it may write to it."""
        array, lent = held.get(value), self.borrowed.get(value)
        if lent is array and lent is not None:
            array = held[value] = lent.copy()
        if array is not None:
            array = held[value] = self.backend.to_nchw(array)
        return array

    def put(self, value: Value, array: Array) -> None:
        """Set an input for good, or another value for the layers that still have to run."""
        if value.producer.is_input:
            self.inputs.put(value, array)
        else:
            self.made[value] = array
        self._resize(value, array.shape)

    def _resize(self, value: Value, shape: Shape) -> None:
        if value.shape != shape:
            self.moved = True
            self.plan.resize_value(value, shape)

    def losses(self) -> list[tuple[float, Array]]:
        """(weight, array of its blob's shape) of each loss that there is at the moment."""
        return [(value.loss_weight, self.array(value)) for value in self.plan.losses if value in self.made]

    def forget(self) -> None:
        """Drop what the last run has left, before the next one allocates anything."""
        self.made.clear()
        self.borrowed.clear()
        self.sums.clear()
        self.kept_grads.clear()
        self._calls.clear()
        for step in self.ready:
            step.layer.saved = None
        self.ready.clear()

    # -- forward -----------------------------------------------------------------------------------

    def begin_forward(self, first: int, last: int) -> Program:
        """Make ready for steps[first..last], and what to run of them; nothing of an earlier run counts any more."""
        self.passes += 1
        if first == 0:
            self.forget()
        for value in tuple(self.borrowed):
            self.array(value)
        self.wholes.clear()
        self.moved = False
        program = self._program(first, last)
        if self._calls:
            self._part_pairs(program)
        self._calls.update(program.by_step)
        return program

    def _part_pairs(self, program: Program) -> None:
        """Where a part of the net runs again, layers that ran in one call may not do so any more."""
        for earlier in {self._calls[step] for step in program.by_step if step in self._calls}:
            if earlier.epilogue.steps:
                for step in earlier.epilogue.steps:
                    self._calls.pop(step, None)
                self._calls[earlier.step] = self._program(earlier.step.index, earlier.step.index).by_step[earlier.step]

    def _program(self, first: int, last: int) -> Program:
        if self._sizes != self.plan.sizes:
            self._programs.clear()
            self._sizes = self.plan.sizes
        program = self._programs.get((first, last, self.choices))
        if program is None:
            program = compile_program(self.plan.steps[first : last + 1], self.choices)
            self._programs[first, last, self.choices] = program
        return program

    def forward(self, calls: Iterable[Call]) -> None:
        """Run calls of the program that begin_forward gave: every microsecond in here counts for every layer."""
        held, on_made, ready, to_nchw = self.made, self.on_made, self.ready, self.backend.to_nchw
        for call in calls:
            step, layer = call.step, call.layer
            try:
                if self.moved:
                    for each in call.steps:
                        self.plan.size_step(each)
                xs = [held[value] if value in held else self.require(value) for value in call.bottoms]
                if call.bottoms_to_nchw:
                    xs = [to_nchw(x) for x in xs]
                options = call.epilogue.options() if call.epilogue.learned else call.options
                if call.epilogue.residual is not None:
                    *xs, residual = xs
                    options = {**options, "residual": residual}
                if call.slot is not None:
                    options = {**options, "out": self._place(call, call.slot)}
                if call.repeats:
                    options = {**options, "repeats": True}
                arrays = layer.forward(xs, **options)
                if call.tops_to_nchw:
                    arrays = [to_nchw(array) for array in arrays]
            except Exception as error:
                step.reraise(error)
            for value, array in zip(call.tops, arrays, strict=True):
                if array.shape != value.shape:  # some shapes depend on the data
                    self._resize(value, array.shape)
                    if value.producer is not step:  # a ReLU of this call, which nobody has sized
                        value.producer.sized_for = None
                held[value] = array
                if value in on_made:
                    on_made[value](value)
            if layer.keep:
                ready[step] = step.sized_for
            for value in call.frees:
                held.pop(value, None)

    def _place(self, call: Call, slot: Slot) -> Array | None:
        """Where a call is to write its top: a flat array."""
        if self.moved:
            return None
        if slot.whole not in self.wholes:
            self.wholes[slot.whole] = self.backend.empty(slot.size)
        whole = self.wholes.pop(slot.whole) if slot.whole is call.step else self.wholes[slot.whole]
        return whole[slot.start : slot.stop]

    def require(self, value: Value) -> Array:
        """What the value holds now, in its shape, which a layer is about to read; GraphFault where that is nothing."""
        array = self.array(value)
        if array is None:
            raise GraphFault(
                f"reads blob '{value.name}', which holds nothing now: give it in forward's inputs, "
                f"or start further up; {KEEPING}"
            )
        return array

    def run_singly(self) -> None:
        """From now on let every layer run in a call of its own: for those who look at blobs between layers."""
        if self.choices.fuses or self.choices.joins:
            self.choices = self.choices._replace(fuses=False, joins=False)
            self._programs.clear()

    def has_run(self, step: Step) -> bool:
        """Whether the layer can go backward: its forward has run, at the sizes that its bottoms have now."""
        call = self._calls.get(step)
        ran = step if call is None else call.step
        return ran in self.ready and self.ready[ran] == ran.sized_for

    def make_up(self, step: Step) -> None:
        """Let a layer that has not run save what its backward needs of its bottoms as they are; its tops stay."""
        call = self._program(step.index, step.index).by_step[step]
        with step.located:
            self.plan.size_step(step)
            xs = [self.require(value) for value in call.bottoms]
            step.layer.save_for_backward([self.backend.to_nchw(x) for x in xs] if call.bottoms_to_nchw else xs)
        self._calls[step] = call
        self.ready[step] = step.sized_for

    # -- backward ----------------------------------------------------------------------------------

    def begin_backward(self, first: int, last: int, afresh: bool, given: Mapping[Value, Array]) -> None:
        """Put the gradients in place that a pass over steps[first..last] begins from: the losses', and those given.

        GraphFault where there are none, or one does not fit.
        """
        self.passes += 1
        if afresh:
            self.sums.clear()
            self.kept_grads.clear()
        for value in self.sums.waiting():  # of an earlier pass over these layers, which send anew
            if value.readers and all(first <= reader.index <= last for reader in value.readers):
                self.sums.take(value)
        for value in self.plan.losses:
            if first <= value.producer.index <= last and value in self.made:
                seed = self.backend.xp.full(value.shape, value.loss_weight, self.backend.dtype)
                self.sums.add(value, seed)
        for value, gradient in given.items():
            if tuple(gradient.shape) != value.shape:
                raise GraphFault(
                    f"the gradient given for blob '{value.name}' is {shape_text(gradient.shape)}, "
                    f"the blob {shape_text(value.shape)}"
                )
            self.sums.put(value, gradient)
        if not self.sums and not self.kept_grads:
            raise GraphFault(
                "backward has no gradient to begin from: run forward up to a loss first, or give grads={blob: gradient}"
            )

    def backward(self, step: Step) -> None:
        """Take the gradients of the tops of the call by which the step ran, leave those of its bottoms.

        Nothing where none has arrived, and for a layer that ran in another one's call.
        GraphFault where the layer has saved nothing.
        """
        call = self._calls.get(step)
        if not step.backward or (call is not None and call.step is not step):
            return
        tops, options = (step.tops, {}) if call is None else (call.tops, call.options)
        if options and self.sums.get(step.tops[0]) is not None:  # given for what the layer makes before its ReLU
            self.sums.take(tops[0])
            tops, options = step.tops, {}
        dys = [self._arrived(value) for value in tops]
        if all(dy is None for dy in dys):
            return
        try:
            if call is None or step not in self.ready:
                raise GraphFault("has nothing saved to go back from: run forward again first")
            if call.bottoms_to_nchw:
                dys = [self.backend.to_nchw(dy) for dy in dys]
            dxs = step.layer.backward(dys, list(step.need), **options)
            if call.tops_to_nchw:
                dxs = [self.backend.to_nchw(dx) for dx in dxs]
        except Exception as error:
            step.reraise(error)
        for value, dx, need in zip(step.bottoms, dxs, step.need, strict=True):
            if need and dx is not None:
                self.sums.add(value, dx)
        if not self.choices.keeps_all:
            step.layer.saved = None
            del self.ready[step]

    def _arrived(self, value: Value) -> Array | None:
        """The sum of what the value's readers have sent, or what an earlier, partial pass has kept of it."""
        gradient = self.sums.take(value)
        if gradient is None:
            return self.kept_grads.get(value)
        if self.choices.keeps_all or value in self.choices.stay:
            self.kept_grads[value] = gradient
        return gradient

    def gradient(self, value: Value) -> Array | None:
        """The gradient of a value, in its shape, for reading: waiting for its producer to take it, or kept."""
        waiting = self.sums.get(value)
        if waiting is not None:
            plain = self.backend.to_nchw(waiting)
            if plain is not waiting:
                self.sums.put(value, plain)  # whoever has it may write to it
            return plain
        if value in self.kept_grads:
            return self._as_nchw(value, self.kept_grads)
        call = self._calls.get(value.producer)
        if call is None or call.epilogue.relu is None or value in call.tops:
            return None
        (top,) = call.tops
        after, output = self.gradient(top), self.array(top)
        return (
            None if after is None or output is None else self.backend.relu_backward(after, output, call.options["relu"])
        )
