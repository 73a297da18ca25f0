"""Runs of a net repeated as recorded graphs, on a backend that can record (the GPU's, where graphs are asked for).

What is recorded is the longest stretch of layers that do nothing but compute on the device: data layers before it and
a layer that waits for the host behind it run as ever.  At sizes that come again and again the first two runs are
ordinary (the second shows which layers cannot be recorded), the third is recorded, and from then on forward copies
the stretch's inputs to where the graph reads them, launches it, and copies what is still needed out of it.  Backward
is a second graph.  It computes with what the first one has left, so only a forward that was such a repetition leads
to it.

A graph knows addresses.  Where an array of weights or gradients is no longer where it was, all recordings are dropped;
values written into it count as ever.  Where the recording of a stretch fails, the net is launched layer by layer from
then on, and says so once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from demitasse.layers.layer import Array
from demitasse.netdef.graph import Step, Value
from demitasse.netdef.run import Run

LEAST = 3  # layers of a stretch that is worth a graph
MOST = 4  # recordings: each keeps the memory of a whole pass
PATIENCE = 100  # forward runs after which one that was not used gives way to another
# Types whose layers make the same launches whenever sizes are the same.  Recurrent layers carry arrays of their own
# from one run to the next; data layers and Python layers work on the host.
RECORDABLE = {
    "AbsVal",
    "Axpy",
    "BN",
    "BNLL",
    "BatchNorm",
    "Bias",
    "Clip",
    "Concat",
    "Convolution",
    "Crop",
    "Deconvolution",
    "DepthwiseConvolution",
    "Dropout",
    "ELU",
    "Eltwise",
    "EuclideanLoss",
    "Exp",
    "Flatten",
    "Input",
    "LRN",
    "Log",
    "Normalize",
    "PReLU",
    "Permute",
    "Pooling",
    "Power",
    "ReLU",
    "ReLU6",
    "Reduction",
    "Reshape",
    "Scale",
    "ShuffleChannel",
    "Sigmoid",
    "Silence",
    "Slice",
    "Softmax",
    "SoftmaxWithLoss",
    "SpatialDropout",
    "Split",
    "Swish",
    "TanH",
    "Threshold",
    "Tile",
}


@dataclass
class _Pass:
    """One recorded pass: forward or backward.  result: what the graph leaves, as a _State."""

    graph: Any
    inputs: dict[Value, Array]  # where the graph reads what comes in from outside
    result: _State


@dataclass
class _Recording:
    """The graphs of a stretch at one set of sizes, and how forward left the layers."""

    recorder: Any
    forward: _Pass
    backward: _Pass | None
    layers: list[tuple[Step, dict, list]]  # (step, the layer's attributes, the sizes it was asked for)
    shapes: dict[Value, tuple]
    used_at: int = 0  # the number of the forward run


class _State:
    """What a run holds at one moment."""

    def __init__(self, run: Run):
        self.inputs, self.arrays = dict(run._inputs), dict(run._arrays)
        self.sums, self.grads = run._sums.copy(), dict(run._grads)
        self.ran, self.absorbed = set(run._ran), set(run._absorbed)
        self.saved = [step.layer.saved for step in run.plan.steps]

    def put_back(self, run: Run) -> None:
        run._inputs, run._arrays, run._sums, run._grads = self.inputs, self.arrays, self.sums, self.grads
        run._ran, run._absorbed = self.ran, self.absorbed
        for step, saved in zip(run.plan.steps, self.saved, strict=True):
            step.layer.saved = saved


class Replay:
    """The recordings of one net."""

    def __init__(self, run: Run):
        self.run, self.steps, self.backend = run, run.plan.steps, run.backend
        self.refused: set[Step] = set()  # steps that cannot be recorded
        self.recordings: dict[tuple, _Recording] = {}  # by sizes, the last used last
        self.visits: dict[tuple, int] = {}  # by sizes
        self.rehearsed: set[tuple] = set()  # sizes whose backward has been watched
        self.addresses: tuple = ()
        self.runs = 0
        self._find_stretch()

    def _find_stretch(self) -> None:
        """steps[first:end]: the longest stretch that can be recorded; off where none is worth it."""
        best, start = (0, 0), 0
        for index, step in enumerate([*self.steps, None]):
            if step is None or step.cls.type not in RECORDABLE or step in self.refused:
                best, start = max(best, (start, index), key=lambda span: span[1] - span[0]), index + 1
        self.first, self.end = best
        self.stretch = self.steps[self.first : self.end]
        inside_others = {step.relu for step in self.steps}  # ReLUs that the layer before them runs
        working = [step for step in self.stretch if not step.is_input and step not in inside_others]
        self.inside = {value for step in working for value in (step.relu or step).tops}
        outside = (value for step in working for value in step.bottoms if value not in self.inside)
        self.entries = list(dict.fromkeys(outside))
        self.off = len(self.stretch) < LEAST
        self._drop()

    def _drop(self) -> None:
        if self.recordings:
            self.backend.runtime.synchronize()  # a graph may still be running
        for kept in (self.recordings, self.visits, self.rehearsed):
            kept.clear()
        self.key: tuple | None = None  # the sizes of the last forward, until backward has been
        self.current: _Recording | None = None  # whose graph it was

    def _say(self, reason: str) -> None:
        warnings.warn(f"net '{self.run.plan.message.name}' is launched layer by layer: {reason}", stacklevel=5)

    def _look_at_addresses(self) -> None:
        """Drop all recordings where an array of weights or gradients is not where it was."""
        now = tuple(
            array.data.ptr
            for step in self.stretch
            for p in step.layer.params
            for array in (p.data, p.grad)
            if array is not None
        )
        if now != self.addresses:
            self.addresses = now
            self._drop()

    # -- forward -----------------------------------------------------------------------------------

    def forward(self, whole: bool) -> bool:
        """Whether this has run the net forward; if not, it has done nothing.  whole: all of it, and nobody looks on."""
        self.key = self.current = None
        if self.off or not whole:
            return False
        before, stretch, after = self.steps[: self.first], self.stretch, self.steps[self.end :]
        self._plainly(before)
        self._look_at_addresses()
        arrays = {value: self.run.array(value) for value in self.entries}
        self.key = key = (*(array.shape for array in arrays.values()), self.backend.key)
        self.visits[key] = visits = self.visits.get(key, 0) + 1
        self.runs += 1
        if visits > 2 and key not in self.recordings and self._has_room():
            self._record_forward(key, arrays)
        if key in self.recordings:
            self._repeat_forward(key, arrays)
        else:
            self._plainly(stretch, watching=visits == 2)
        self._plainly(after)
        return True

    def _plainly(self, steps: Sequence[Step], watching: bool = False) -> None:
        self._watch(steps, lambda step: self.run.forward(step, len(self.steps) - 1), watching)

    def _watch(self, steps: Sequence[Step], work: Callable[[Step], None], watching: bool) -> None:
        """Do the steps; where watching, learn which of them do what a graph cannot hold."""
        refused = set()
        for step in steps:
            before = self.backend.refused
            work(step)
            if self.backend.refused != before:
                refused.add(step)
        if watching and refused:
            self.refused |= refused
            self._find_stretch()
            if self.off:
                names = ", ".join(step.label for step in self.steps if step in self.refused)
                self._say(f"{names} cannot be recorded, and too little lies between")

    def _has_room(self) -> bool:
        """Whether one more may be recorded.  Where more sizes than that take turns, those recorded first stay."""
        if len(self.recordings) < MOST:
            return True
        oldest = next(iter(self.recordings))
        if self.runs - self.recordings[oldest].used_at < PATIENCE:
            return False
        self.backend.runtime.synchronize()
        del self.recordings[oldest]
        return True

    def _record_forward(self, key: tuple, arrays: dict[Value, Array]) -> None:
        run, last, recorder = self.run, len(self.steps) - 1, self.backend.recorder()
        inputs = {value: array.copy() for value, array in arrays.items()}

        def work(step):
            run.forward(step, last)

        def begin():
            for value, array in inputs.items():
                (run._inputs if value.producer.is_input else run._arrays)[value] = array

        recorded = self._recorded(recorder, inputs, self.stretch, begin, work)
        if recorded is None:
            return
        recorded, layers, shapes = recorded
        self.recordings[key] = _Recording(recorder, recorded, None, layers, shapes)

    def _recorded(self, recorder, inputs, steps, begin, work):
        """(the pass, how it leaves the layers, the shapes of all values); None, once and for all, where it fails.
        The run is afterwards as it was."""
        run, before, at = self.run, _State(self.run), steps[0]

        def launch():
            nonlocal at
            begin()
            for at in steps:
                work(at)
            return _State(run)

        try:
            graph = recorder.record(launch)
            layers = [(step, dict(vars(step.layer)), step.sized_for) for step in self.stretch]
            return _Pass(graph, inputs, graph.result), layers, {v: v.shape for v in self.inside}
        except Exception as error:  # noqa: BLE001 (whatever it is, the ordinary run meets it again or does not mind it)
            self.off = True
            self._drop()
            self._say(f"layer {at.label} cannot be recorded ({type(error).__name__}: {error})")
            return None
        finally:
            before.put_back(run)

    def _repeat_forward(self, key: tuple, arrays: dict[Value, Array]) -> None:
        run, recording = self.run, self.recordings.pop(key)
        self.recordings[key] = self.current = recording
        recording.used_at = self.runs
        for value, array in arrays.items():
            recording.forward.inputs[value][...] = array
        recording.forward.graph.launch()
        for step, attributes, sizes in recording.layers:
            vars(step.layer).update(attributes)
            step.sized_for = sizes
            for value in step.last_uses:
                run._arrays.pop(value, None)
        for value, shape in recording.shapes.items():
            value.shape = shape
        result = recording.forward.result
        run._arrays |= {value: array.copy() for value, array in result.arrays.items() if value in self.inside}
        run._ran |= result.ran.intersection(self.stretch)
        run._absorbed |= {step.relu for step in self.stretch if step.relu in result.absorbed}

    # -- backward ----------------------------------------------------------------------------------

    def backward(self, whole: bool) -> bool:
        """Whether this has run the net backward, from the gradients that the run holds; if not, it has done nothing.
        Only the first backward after a forward is recorded."""
        key, recording, run = self.key, self.current, self.run
        self.key = self.current = None
        if self.off or key is None or not whole:
            return False
        before, stretch, after = self.steps[: self.first], self.stretch, self.steps[self.end :]
        self._watch(after[::-1], run.backward, False)
        watching = recording is not None or self.visits.get(key) == 2
        if recording is not None and key in self.rehearsed:
            self._look_at_addresses()
            if recording.backward is None and key in self.recordings:
                recording.backward = self._record_backward(recording)
        gradients = {value: self.backend.plain(array) for value, array in run._sums.all().items()}
        if (
            recording is not None
            and recording.backward is not None
            and key in self.recordings
            and recording.backward.inputs.keys() == gradients.keys()
        ):
            self._repeat_backward(recording.backward, gradients)
        else:
            self._watch(stretch[::-1], run.backward, watching and key not in self.rehearsed)
            if watching and key in self.visits:
                self.rehearsed.add(key)
        self._watch(before[::-1], run.backward, False)
        return True

    def _record_backward(self, recording: _Recording) -> _Pass | None:
        inputs = {value: self.backend.plain(array).copy() for value, array in self.run._sums.all().items()}

        def begin():
            self.run._sums.clear()
            for value, array in inputs.items():
                self.run._sums.put(value, array)

        recorded = self._recorded(recording.recorder, inputs, self.stretch[::-1], begin, self.run.backward)
        return recorded and recorded[0]

    def _repeat_backward(self, done: _Pass, gradients: dict[Value, Array]) -> None:
        run = self.run
        for value, array in gradients.items():
            done.inputs[value][...] = array
        done.graph.launch()
        run._sums.clear()
        for value, array in done.result.sums.all().items():
            run._sums.put(value, array.copy())
        run._grads |= {value: array.copy() for value, array in done.result.grads.items() if value in self.inside}
        run._ran -= set(self.stretch) - done.result.ran
        for step in self.stretch:
            if step not in run._ran:
                step.layer.saved = None
