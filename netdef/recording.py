"""Passes of a net launched as a whole, on a device that records (contract.Recording): where the host takes longer to
launch layer by layer than the device to compute, that is most of the time.

Recorded is the longest stretch of calls whose layers do nothing but launch (Layer.launches_only); data layers before it
and a layer that waits for the host behind it run as ever.  The first passes of a set of sizes are ordinary ones,
which build and compile what they need; the next is recorded, and from then on forward copies the stretch's inputs to
where the recording reads them, launches it, copies out what is still needed, and leaves every layer as it was after the
recorded pass.  Backward is a second recording, which reads what the first one has saved: it follows a launch of it, at
most once, and may write over what it has read.  So nets that keep all are not recorded where they go backward.

A recording knows addresses.  Where an array of weights or gradients is another one, all recordings are dropped; what
is written into them counts as ever.  A layer that cannot be recorded after all is left out from then on, and named in
`refused`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from demitasse.layers.layer import Array, Param
from demitasse.netdef.executor import Executor
from demitasse.netdef.graph import Step, Value
from demitasse.netdef.program import Program
from demitasse.netdef.recorded_pass import Pass, State, Stretch, longest_stretch
from demitasse.netdef.recorded_sizes import RecordedPasses, RecordedSizes

MAX_REFUSED = 8  # layers; then no more is recorded


class Recordings:
    """The recordings of one net.  refused: {layer: why it cannot be recorded}."""

    def __init__(self, executor: Executor):
        self.executor, self.backend = executor, executor.backend
        can = self.backend.capabilities
        self.on = can.records and (can.host_memory or not executor.choices.keeps_all)
        self._training = can.records_training and not executor.choices.keeps_all  # else backward may run twice
        self._lends = can.host_memory and not executor.choices.keeps_all  # inputs, to lie where they are read
        self.refused: dict[Step, str] = {}
        self.sizes = RecordedSizes(self.backend)
        self._arrays: list[Array] = []  # of weights and gradients, as recorded
        self._looked_at: tuple = (None, None)  # Param.exchanged and the stretch when those were looked at
        self._program: Program | None = None
        self._stretch = Stretch([], [], [], (), [])
        self._last: tuple = (-1, (), None)  # the last forward pass: its number, its sizes, its recording

    def __len__(self) -> int:
        return len(self.sizes.recordings)

    def __str__(self) -> str:
        both = sum(recording.backward is not None for recording in self.sizes.recordings.values())
        why = "; ".join(f"{step.label}: {reason}" for step, reason in self.refused.items())
        return f"{len(self)} forward, {both} backward" + f" (not recorded: {why})" * bool(why)

    def give_way(self) -> None:
        """Forget all recordings and make no more: others need the memory."""
        self.on = False
        self.drop()

    def nbytes(self) -> int:
        """Bytes that the recordings have taken from the device."""
        return sum(recording.forward.launched.nbytes() for recording in self.sizes.recordings.values())

    def drop(self) -> None:
        """Forget all recordings."""
        self.sizes.clear()
        self._last = -1, (), None

    # -- forward -----------------------------------------------------------------------------------

    def forward(self, program: Program, whole: bool) -> None:
        """Run the program.  whole: it is that of all layers."""
        run = self.executor.forward
        if not (self.on and whole):
            run(program.calls)
            return
        stretch = self._stretch_of(program)
        run(stretch.before)
        if stretch.calls and not self.executor.moved:
            stretch = self._forward_stretch(program, stretch)
        else:
            run(stretch.calls)
        run(stretch.after)

    def _stretch_of(self, program: Program) -> Stretch:
        if program is not self._program:
            self._program, self._stretch = (
                program,
                longest_stretch(program.calls, self.refused, self._training),
            )
        return self._stretch

    def _forward_stretch(self, program: Program, stretch: Stretch) -> Stretch:
        """Launch the stretch or, where it is not recorded, run it.  Gives the one that this was at last: a shorter one
        where layers of it have been refused, up to which all has run."""
        self._look_at_arrays(stretch)
        entries, sizes = self._entries(stretch)
        recording = self.sizes.find(sizes)
        if recording is None and self.sizes.deserve(sizes):
            recording = self._record_forward(sizes, stretch, entries)
            while recording is None and (shorter := self._left_of(stretch, program)) is not None:
                self.executor.forward(shorter.before[len(stretch.before) :])
                stretch = shorter
                self._look_at_arrays(stretch)
                entries, sizes = self._entries(stretch)
                recording = self._record_forward(sizes, stretch, entries)
        self._last = self.executor.passes, sizes, recording
        if recording is None or not self._launch_forward(recording.forward, stretch, entries):
            entries.clear()  # they end with their last reader
            self.executor.forward(stretch.calls)
        return stretch

    def _entries(self, stretch: Stretch) -> tuple[dict[Value, Array], tuple]:
        """(the arrays that the stretch reads, their sizes and what is done at these)"""
        to_nchw = self.backend.to_nchw
        entries = {value: to_nchw(self._entry(value)) for value in stretch.entries}
        sizes = tuple((array.shape, array.dtype) for array in entries.values())
        return entries, (sizes, self.executor.choices)

    def _entry(self, value: Value) -> Array:
        executor = self.executor
        return executor.inputs.for_recording(value) if value.producer.is_input else executor.require(value)

    def _left_of(self, stretch: Stretch, program: Program) -> Stretch | None:
        """What can be recorded yet of a stretch of which a layer has been refused, if that is still worth it."""
        shorter = self._stretch_of(program)
        if shorter.entry_bytes > self.backend.capabilities.recorded_bytes:
            self.give_way()  # before they are looked at: without repeated lines they may be smaller
        worth = self.on and shorter.calls and set(shorter.calls) <= set(stretch.calls)
        return shorter if worth else None

    def _look_at_arrays(self, stretch: Stretch) -> bool:
        """Whether the arrays of weights and gradients are those of the recordings; where not, these are dropped."""
        exchanged, looked_at = self._looked_at
        if exchanged == Param.exchanged and looked_at is stretch:
            return True
        self._looked_at = Param.exchanged, stretch
        arrays = [array for param in stretch.params for array in (param.data, param.grad)]
        if len(arrays) == len(self._arrays) and all(map(operator.is_, arrays, self._arrays)):
            return True
        self._arrays = arrays
        self.drop()
        return False

    def _record_forward(self, sizes: tuple, stretch: Stretch, entries: dict[Value, Array]) -> RecordedPasses | None:
        executor = self.executor

        def work(inputs: dict[Value, Array], note: Callable[[Step], None]) -> dict[Value, Array]:
            executor.wholes.clear()
            executor.made.update(inputs)
            for call in stretch.calls:
                note(call.step)
                executor.forward([call])
            if executor.moved:
                raise RuntimeError("sizes depend on values")
            tops = {value for call in stretch.calls for value in call.tops}
            return {value: array for value, array in executor.made.items() if value in tops}

        recorded = self._record(stretch, entries, work)
        return None if recorded is None else self.sizes.put(sizes, RecordedPasses(recorded))

    def _launch_forward(self, done: Pass, stretch: Stretch, entries: dict[Value, Array]) -> bool:
        """Whether this has run the stretch as an ordinary pass would; if not, it has left nothing that counts."""
        executor = self.executor
        done.launch(entries)
        if done.ready and not done.launched.holds():
            self.give_way()
            return False
        for call in stretch.calls if executor.made else ():
            for value in call.frees:
                executor.made.pop(value, None)
        if executor.choices.keeps_all:  # many values, at few of which somebody looks
            executor.made.update(done.made)
            executor.borrowed.update(done.made)
            for value in (value for call in stretch.after for value in call.bottoms):
                executor.array(value)  # the layer may make views of it
        else:
            executor.made.update({value: self._copied(array) for value, array in done.made.items()})
            if self._lends:
                for value in (value for value in done.inputs if value.producer.is_input):
                    executor.inputs.lend(value, done.inputs[value])
        executor.ready.update({step: step.sized_for for step in done.ready})
        for value in done.made:
            if value in executor.on_made:
                executor.on_made[value](value)
        return True

    def _copied(self, array: Array) -> Array:
        """An array that the next launch does not write to."""
        nchw = self.backend.to_nchw(array)
        return nchw.copy() if nchw is array else nchw

    # -- backward ----------------------------------------------------------------------------------

    def backward(self, first: int, last: int, whole: bool) -> None:
        """Run steps[first..last] backward, the last one first.  whole: from the losses' gradients alone."""
        executor, steps = self.executor, self.executor.plan.steps
        number, sizes, recording = self._last
        between = number + 1 != executor.passes  # another pass has come
        if between or not (whole and self._stretch.calls) or first > 0:
            for step in reversed(steps[first : last + 1]):
                executor.backward(step)
            return
        stretch = self._stretch
        begin, end = stretch.span
        for step in reversed(steps[end + 1 :]):
            executor.backward(step)
        if recording is None or not self._backward_stretch(sizes, recording, stretch):
            for step in reversed(steps[begin : end + 1]):
                executor.backward(step)
            self.sizes.rehearsed.add(sizes)
        for step in reversed(steps[:begin]):
            executor.backward(step)

    def _backward_stretch(self, sizes: tuple, recording: RecordedPasses, stretch: Stretch) -> bool:
        """Whether this has gone backward through the stretch; if not, it has done nothing."""
        sums, to_nchw = self.executor.sums, self.backend.to_nchw
        if not self._look_at_arrays(stretch):
            return False
        gradients = {value: to_nchw(sums.get(value)) for value in sums.waiting()}
        if recording.backward is None and sizes in self.sizes.rehearsed and gradients:
            recording.backward = self._record_backward(recording, stretch, gradients)
        done = recording.backward
        if done is None or done.inputs.keys() != gradients.keys():
            return False
        done.launch(gradients)
        sums.clear()
        for value, gradient in done.made.items():
            sums.put(value, self._copied(gradient))
        self.executor.kept_grads.update({value: self._copied(array) for value, array in done.kept_grads.items()})
        for step in set(stretch.steps) - done.ready:
            self.executor.ready.pop(step, None)
        return True

    def _record_backward(
        self, recording: RecordedPasses, stretch: Stretch, gradients: dict[Value, Array]
    ) -> Pass | None:
        executor, (begin, end) = self.executor, stretch.span
        steps = executor.plan.steps[begin : end + 1]

        def work(inputs: dict[Value, Array], note: Callable[[Step], None]) -> dict[Value, Array]:
            executor.sums.clear()
            for value, gradient in inputs.items():
                executor.sums.put(value, gradient)
            for step in reversed(steps):
                note(step)
                executor.backward(step)
            return {value: executor.sums.get(value) for value in executor.sums.waiting()}

        return self._record(stretch, gradients, work, after=recording.forward.launched)

    # -- recording ---------------------------------------------------------------------------------

    def _record(self, stretch: Stretch, inputs: dict[Value, Array], work, after=None) -> Pass | None:
        """What work(copies of the inputs, a function to call before each step) launches and gives; None where that
        cannot be recorded.  The executor and the layers are afterwards as they were."""
        executor, layers = self.executor, [step.layer for step in stretch.steps]
        copies: dict[Value, Array] = {}
        before, watching = State(executor, layers), executor.on_made
        given: dict[Value, Array] = {}
        step, state = stretch.steps[0], before

        def note(newest: Step) -> None:
            nonlocal step
            step = newest

        def run() -> None:
            nonlocal given, state
            given, state = {}, before
            before.put_back(executor)  # it may have run already
            given = work(copies, note)
            state = State(executor, layers)

        try:
            executor.on_made = {}
            copies.update({value: self.backend.recordable(array) for value, array in inputs.items()})
            launched = self.backend.record(run, after, self.give_way)
        except Exception as error:  # noqa: BLE001 (an ordinary pass follows, which meets it again or does not mind it)
            self._refuse(step, error)
            return None
        finally:
            watching.update(executor.on_made)  # another thread may have looked at a blob meanwhile
            executor.on_made = watching
            before.put_back(executor)
        new_grads = {value: array for value, array in state.kept_grads.items() if value not in before.kept_grads}
        ready = set(state.ready).intersection(stretch.steps)
        return Pass(launched, copies, given, new_grads, ready, state.changes_since(before))

    def _refuse(self, step: Step, error: Exception) -> None:
        """Record no pass over that layer any more."""
        self.refused[step] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        self._program = None
        if len(self.refused) > MAX_REFUSED or any(isinstance(one, MemoryError) for one in (error, error.__context__)):
            self.give_way()
        else:
            self.sizes.forget_recordings()
            self._last = -1, (), None
