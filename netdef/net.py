"""A net: a plan with arrays, which runs forward and backward.

    net = Net("voc-fcn8s/deploy.prototxt", weights="fcn8s-heavy-pascal.caffemodel")
    scores = net.forward({"data": image})["score"]

Forward asks each layer for its tops in the order of the text; backward asks in the reverse order for the
gradients of its bottoms.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from demitasse.layers.backend import make_backend
from demitasse.layers.layer import Array, Shape
from demitasse.netdef.call_lock import alone
from demitasse.netdef.contents import Contents
from demitasse.netdef.executor import Executor
from demitasse.netdef.graph import Step, Value
from demitasse.netdef.inputs import input_array
from demitasse.netdef.lazy_executor import LazyExecutor
from demitasse.netdef.params import allocate_grads, fill_params
from demitasse.netdef.plan import Plan
from demitasse.netdef.program import Choices, Program
from demitasse.netdef.recording import Recordings
from demitasse.netdef.weight_matching import LoadReport
from demitasse.proto.errors import GraphFault, SchemaFault, Where, did_you_mean
from demitasse.proto.messages import NetParameter


class Net(Contents):
    """A net that computes.

    source, phase, level, stages, inputs, auto_crop: as in Plan.  backend: from make_backend; None: the CPU.
    weights: what `load` takes, loaded at once; or another net, whose arrays are shared (`share_with`).
    seed: for fillers and dropout.
    keep: "needed" drops values and gradients after their last use, so that memory is that of the live ones;
        "all" keeps every value and gradient readable, and lets a net in the TEST phase run backward;
        "newest" is "all" but for what in-place layers overwrite in Caffe: then a blob holds its newest value only;
        "lazy" is "newest" to whoever looks, but passes run as with "needed", and a blob that is not there is computed
        when it is looked at, from the inputs of the pass (netdef.lazy_executor says who has to take care of what);
        a list of blob names keeps those beside what is needed.  Inputs, outputs and losses always stay.
    fuse: run an in-place ReLU inside the layer before it, and have convolutions write into the Concat that they feed.

    blobs, grads: {blob: array, or its gradient} of what is there at the moment, newest values.
    executor: the same by value, for those who put arrays of their own in place (netdef.executor.Executor).
    recordings: which passes a device launches as a whole (netdef.recording.Recordings).
    load_report: what `weights` had in common with the net.
    lock: held during each of the calls below, so that threads may share the net: each gets the results of its own
        call.  Hold it (`with net.lock:`) to make several calls, or a call and a look at `blobs`, one.
    before_forward, after_forward, before_backward, after_backward: lists of functions called with a layer's index.
    forward_done, backward_done: lists of functions called after a pass, also one that has failed, with the indices of
        its first and last layers.
    """

    def __init__(
        self,
        source: str | os.PathLike | NetParameter,
        phase: str | int = "TEST",
        *,
        backend=None,
        level: int = 0,
        stages: Iterable[str] = (),
        inputs: Mapping[str, Shape] | None = None,
        auto_crop: bool = False,
        weights: str | os.PathLike | Mapping | Net | None = None,
        fuse: bool = True,
        keep: str | Iterable[str] = "needed",
        seed: int | None = None,
    ):
        super().__init__()
        self.backend = backend or make_backend("cpu")
        if seed is not None:
            self.backend.seed(seed)
        state: dict[str, Any] = {"level": level, "stages": stages, "inputs": inputs, "auto_crop": auto_crop}
        self.plan = Plan(source, phase, backend=self.backend, **state)
        try:
            self._build(keep, fuse, weights)
        except BaseException:
            self.plan.close()
            raise

    def _build(self, keep: str | Iterable[str], fuse: bool, weights) -> None:
        """Put arrays to the plan."""
        choices = self._choices(keep, fuse)
        self._supports_backward = self.plan.trains or choices.keeps_all or self.plan.message.force_backward
        self.executor = (
            LazyExecutor(self.plan, self.backend, choices, self)
            if keep == "lazy"
            else Executor(self.plan, self.backend, choices)
        )
        self.recordings = Recordings(self.executor)
        self.blobs, self.grads = self.executor.blobs, self.executor.grads
        self.before_forward: list[Callable[[int], None]] = []
        self.after_forward: list[Callable[[int], None]] = []
        self.before_backward: list[Callable[[int], None]] = []
        self.after_backward: list[Callable[[int], None]] = []
        self.forward_done: list[Callable[[int, int], None]] = []
        self.backward_done: list[Callable[[int, int], None]] = []
        if isinstance(self.executor, LazyExecutor):
            self.forward_done.append(self.executor.end_forward)
        self.load_report = self._take(weights) if weights else None
        self._allocate()

    def _choices(self, keep: str | Iterable[str], fuse: bool) -> Choices:
        can, keeps_all = self.backend.capabilities, keep in ("all", "newest", "lazy")
        return Choices(
            stay=frozenset(self._kept(keep)),
            keeps_all=keeps_all,
            fuses=fuse and not (keeps_all and can.nhwc),  # layers are to save what a user sees, not tensors of a device
            composes=fuse and can.composes,
            joins=fuse and not keeps_all and can.writes_into_out,
            nhwc=can.nhwc,
            repeats=fuse and not keeps_all and can.repeats,
        )

    def _kept(self, keep: str | Iterable[str]) -> Iterable[Value]:
        """The values that are to stay beside those that are needed."""
        if isinstance(keep, str):
            kept: dict[str, Iterable[Value]] = {
                "needed": (),
                "newest": self.plan.newest.values(),
                "lazy": self.plan.newest.values(),
                "all": self.plan.values,
            }
            if keep not in kept:
                raise SchemaFault(f"keep is 'needed', 'newest', 'lazy', 'all' or a list of blob names, not '{keep}'")
            return kept[keep]
        names = set(keep)
        for name in names:
            if name not in self.plan.newest:
                raise GraphFault(f"the net has no blob '{name}' to keep{did_you_mean(name, self.plan.newest)}")
        return [value for value in self.plan.values if value.name in names]

    def _take(self, weights) -> LoadReport:
        return self.share_with(weights) if isinstance(weights, Net) else self.load(weights)

    def _allocate(self) -> None:
        steps, shared = self.plan.steps, self.plan.shared
        fill_params(steps, shared, self.backend)
        for step in steps:
            step.layer.keep = step.backward and self._supports_backward
            if step.layer.keep:
                allocate_grads(
                    [param for param in step.layer.params if param.lr_mult != 0 or self.plan.message.force_backward],
                    shared,
                    self.backend,
                )

    # -- running -----------------------------------------------------------------------------------

    @alone
    def reshape(self, shapes: Mapping[str, Shape]) -> None:
        """Give inputs new shapes and infer all others; ShapeFault where they do not fit (the net stays usable)."""
        for name in shapes:
            self._input(name)
        self.plan.resize({name: tuple(int(size) for size in shape) for name, shape in shapes.items()})

    @alone
    def forward(
        self, inputs: Mapping[str, Array] | None = None, start: str | int | None = None, end: str | int | None = None
    ) -> dict[str, Array]:
        """Run the layers from `start` to `end` (names or indices, both included; None: first, last).

        inputs: {blob: array on the host or the device}; copied, kept for the next runs, and free to change
        the net's sizes.  With `start`, any blob made before it may be given.
        Returns the net's outputs, or with `end` the tops of that layer, as device arrays.  GraphFault or ShapeFault.
        """
        if not isinstance(inputs, Mapping | None):
            name = next(iter(self.plan.inputs), "data")
            raise GraphFault(f"forward takes arrays by the names of their blobs: net.forward({{'{name}': array}})")
        first, last = self._index(start, 0), self._index(end, len(self.plan.steps) - 1)
        fed = {
            self._value_before(name, first): input_array(self.backend, name, array)
            for name, array in (inputs or {}).items()
        }
        self.plan.resize({value.name: array.shape for value, array in fed.items()}, first, last)
        program = self.executor.begin_forward(first, last)
        for value, array in fed.items():
            self.executor.put(value, self.executor.inputs.copied(value, array, first == 0))
        try:
            if self.before_forward or self.after_forward:
                self._forward_watched(program, first, last)
            else:
                self.recordings.forward(program, first == 0 and last == len(self.plan.steps) - 1)
        finally:
            for done in self.forward_done:
                done(first, last)
        names = self.outputs if end is None else [value.name for value in self.plan.steps[last].tops]
        return {name: self.blobs[name] for name in names}

    def _forward_watched(self, program: Program, first: int, last: int) -> None:
        """The program, with the hooks around each layer: also around those that run in another one's call."""
        for step in self.plan.steps[first : last + 1]:
            _call(self.before_forward, step)
            call = program.by_step.get(step)
            if call is not None and call.step is step:
                self.executor.forward([call])
            _call(self.after_forward, step)

    @alone
    def backward(
        self, start: str | int | None = None, end: str | int | None = None, grads: Mapping[str, Array] | None = None
    ) -> None:
        """Add the gradients of the last forward's loss to the params, layer by layer from `start` down to `end`.

        grads: {blob: gradient} to begin from beside the losses, each of its blob's shape; a loss given here begins
        from that instead of its loss_weight.  With `start`, the gradients that an earlier `backward(end=...)` has
        left are there too.
        """
        self._check_backward()
        last, first = self._index(start, len(self.plan.steps) - 1), self._index(end, 0)
        given = {self._value_before(name, last + 1): self.backend.asarray(grad) for name, grad in (grads or {}).items()}
        self.executor.begin_backward(first, last, start is None, given)
        try:
            if self.before_backward or self.after_backward:
                self._backward_watched(first, last)
            else:
                self.recordings.backward(first, last, start is None and not given)
        finally:
            for done in self.backward_done:
                done(first, last)

    def _backward_watched(self, first: int, last: int) -> None:
        """The layers from the last to the first, with the hooks around each."""
        for step in reversed(self.plan.steps[first : last + 1]):
            _call(self.before_backward, step)
            self.executor.backward(step)
            _call(self.after_backward, step)

    @property
    def loss(self) -> float:
        """The sum of loss_weight * top over the last forward (waits for the device)."""
        return self.loss_later()()

    @alone
    def loss_later(self) -> Callable[[], float]:
        """`loss`, asked for now: a function that waits for it alone.  GraphFault before forward has run."""
        terms = [(weight, self.backend.to_host_async(array)) for weight, array in self.executor.losses()]
        if self.plan.losses and not terms:
            raise GraphFault("there is no loss before forward has run")

        def wait() -> float:
            loss = sum((weight * float(array().sum()) for weight, array in terms), 0.0)
            if not math.isfinite(loss):
                for step in self.plan.steps:
                    with step.located:
                        step.layer.check()
            return loss

        return wait

    @alone
    def clear_grads(self) -> None:
        """Set the gradients of all params to zero."""
        self.backend.clear([param.grad for param in self.learnable if param.grad is not None])

    @alone
    def close(self) -> None:
        """Release files, threads and the memory of recordings."""
        self.recordings.drop()
        super().close()

    def _check_backward(self) -> None:
        if not any(step.backward for step in self.plan.steps):
            reason = (
                "no loss reaches a layer that learns: give one an lr_mult above 0"
                if self.plan.losses
                else "no layer is a loss or has a loss_weight: add, say, a SoftmaxWithLoss"
            )
            raise GraphFault(
                f"backward has nothing to do: {reason} (force_backward: true in the net computes "
                "all gradients nevertheless)",
                Where(self.plan.steps[0].where.file),
            )
        if not self._supports_backward:
            raise GraphFault(
                "a net in the TEST phase saves nothing for backward: build it with keep='all', or in the TRAIN phase"
            )


def _call(hooks: list[Callable[[int], None]], step: Step) -> None:
    for hook in tuple(hooks):  # a hook may take itself out
        hook(step.index)
