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

from demitasse.layers.backend import make_backend
from demitasse.layers.layer import Array, Layer, Param, Shape
from demitasse.netdef.fusion import fuse_relus, join_in_place
from demitasse.netdef.graph import Step, Value
from demitasse.netdef.loading import LoadReport, match_weights
from demitasse.netdef.params import allocate_grads, fill_params
from demitasse.netdef.plan import Plan, plan_lifetimes
from demitasse.netdef.run import Run
from demitasse.netdef.words import shape_text, some
from demitasse.netdef.written import written
from demitasse.proto.errors import GraphFault, SchemaFault, WeightsFault, Where, did_you_mean
from demitasse.proto.messages import LayerParameter, NetParameter
from demitasse.proto.weights import write_weights


class Net:
    """A net that computes.

    source, phase, level, stages, inputs: as in Plan.  backend: from make_backend; None: the CPU.
    weights: what `load` takes, loaded at once.  seed: for fillers and dropout.
    keep: "needed" drops values and gradients after their last use, so that memory is that of the live ones;
        "all" keeps every blob and gradient readable, and lets a net in the TEST phase run backward;
        a list of blob names keeps those beside what is needed.  Inputs, outputs and losses always stay.
    fuse: run an in-place ReLU inside the layer before it, and have convolutions write into the Concat that they feed.

    blobs, grads: {blob: array, or its gradient} of what is there at the moment, newest values.
    run: the same by value, for those who put arrays of their own in place (netdef.run.Run).
    load_report: what `weights` had in common with the net.
    before_forward, after_forward, before_backward, after_backward: lists of functions called with a layer's index.
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
        weights: str | os.PathLike | Mapping | None = None,
        fuse: bool = True,
        keep: str | Iterable[str] = "needed",
        seed: int | None = None,
    ):
        self.backend = backend or make_backend("cpu")
        if seed is not None:
            self.backend.seed(seed)
        self.plan = Plan(source, phase, backend=self.backend, level=level, stages=stages, inputs=inputs)
        try:
            self._build(keep, fuse, weights)
        except BaseException:
            self.plan.close()
            raise

    def _build(self, keep: str | Iterable[str], fuse: bool, weights) -> None:
        """Put arrays to the plan."""
        kept = _kept_names(keep, self.plan.newest)
        plan_lifetimes(self.plan.steps, kept)
        if fuse:
            # where all blobs are kept layers are to save those, not images of the backend's
            if kept is not None or not self.backend.capabilities.nhwc:
                fuse_relus(self.plan.steps)
            if kept is not None and self.backend.capabilities.writes_into_out:
                join_in_place(self.plan.steps, kept)
        self._goes_back = self.plan.trains or kept is None or self.plan.message.force_backward
        self.run = Run(self.plan, self.backend, kept)
        self.blobs, self.grads = self.run.blobs, self.run.grads
        self.before_forward: list[Callable[[int], None]] = []
        self.after_forward: list[Callable[[int], None]] = []
        self.before_backward: list[Callable[[int], None]] = []
        self.after_backward: list[Callable[[int], None]] = []
        self.load_report = self.load(weights) if weights else None
        self._allocate()

    def _allocate(self) -> None:
        steps, shared = self.plan.steps, self.plan.shared
        fill_params(steps, shared, self.backend)
        for step in steps:
            step.layer.keep = step.backward and self._goes_back
            if step.layer.keep:
                allocate_grads(
                    [param for param in step.layer.params if param.lr_mult != 0 or self.plan.message.force_backward],
                    shared,
                    self.backend,
                )

    # -- what is in it -----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.plan.message.name

    @property
    def layers(self) -> list[Layer]:
        return [step.layer for step in self.plan.steps]

    @property
    def layer_names(self) -> list[str]:
        return [step.name for step in self.plan.steps]

    @property
    def specs(self) -> list[LayerParameter]:
        """The layers' messages, upgraded to today's form."""
        return [step.spec for step in self.plan.steps]

    @property
    def wheres(self) -> list[Where]:
        return [step.where for step in self.plan.steps]

    @property
    def inputs(self) -> list[str]:
        return list(self.plan.inputs)

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads, in alphabetical order."""
        return self.plan.outputs

    @property
    def blob_names(self) -> list[str]:
        return list(self.plan.newest)

    @property
    def shapes(self) -> dict[str, Shape]:
        return {name: value.shape for name, value in self.plan.newest.items()}

    @property
    def params(self) -> dict[str, list[Param]]:
        """{layer: its learned arrays}, of the layers that have some."""
        return self.plan.params

    @property
    def learnable(self) -> list[Param]:
        """Every learned array once, in order: of shared ones the first."""
        return self.plan.learnable

    # -- running -----------------------------------------------------------------------------------

    def reshape(self, shapes: Mapping[str, Shape]) -> None:
        """Give inputs new shapes and infer all others; ShapeFault where they do not fit (the net stays usable)."""
        for name in shapes:
            self._input(name)
        self.plan.resize({name: tuple(int(size) for size in shape) for name, shape in shapes.items()})

    def forward(
        self, inputs: Mapping[str, Array] | None = None, start: str | None = None, end: str | None = None
    ) -> dict[str, Array]:
        """Run the layers from `start` to `end` (names, both included; None: first, last).

        inputs: {blob: array on the host or the device}; copied, kept for the next runs, and free to change
        the net's sizes.  With `start`, any blob made before it may be given.
        Returns the net's outputs, or with `end` the tops of that layer, as device arrays.
        """
        first, last = self._index(start, 0), self._index(end, len(self.plan.steps) - 1)
        fed = {self._value_before(name, first): self._copy(array) for name, array in (inputs or {}).items()}
        self.plan.resize({value.name: array.shape for value, array in fed.items()}, first, last)
        self.run.begin_forward(first, last)
        for value, array in fed.items():
            self.run.put(value, array)
        for step in self.plan.steps[first : last + 1]:
            if self.before_forward:
                _call(self.before_forward, step)
            self.run.forward(step, last)
            if self.after_forward:
                _call(self.after_forward, step)
        names = self.outputs if end is None else [value.name for value in self.plan.steps[last].tops]
        return {name: self.blobs[name] for name in names}

    def backward(
        self, start: str | None = None, end: str | None = None, grads: Mapping[str, Array] | None = None
    ) -> None:
        """Add the gradients of the last forward's loss to the params, layer by layer from `start` down to `end`.

        grads: {blob: gradient} to begin from beside the losses, each of its blob's shape; a loss given here begins
        from that instead of its loss_weight.  With `start`, the gradients that an earlier `backward(end=...)` has
        left are there too.
        """
        self._check_backward()
        last, first = self._index(start, len(self.plan.steps) - 1), self._index(end, 0)
        given = {self._value_before(name, last + 1): self.backend.asarray(grad) for name, grad in (grads or {}).items()}
        self.run.begin_backward(first, last, start is None, given)
        for step in reversed(self.plan.steps[first : last + 1]):
            _call(self.before_backward, step)
            self.run.backward(step)
            _call(self.after_backward, step)

    @property
    def loss(self) -> float:
        """The sum of loss_weight * top over the last forward (waits for the device)."""
        return self.loss_later()()

    def loss_later(self) -> Callable[[], float]:
        """`loss`, asked for now: a function that waits for it, but not for what is started in between."""
        terms = [(weight, self.backend.to_host_async(array)) for weight, array in self.run.losses()]
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

    def clear_grads(self) -> None:
        """Set the gradients of all params to zero."""
        for param in self.learnable:
            if param.grad is not None:
                param.grad.fill(0)

    def _index(self, layer: str | None, default: int) -> int:
        if layer is None:
            return default
        if layer not in self.plan.by_name:
            raise GraphFault(f"the net has no layer '{layer}'{did_you_mean(layer, self.plan.by_name)}")
        return self.plan.by_name[layer].index

    def _input(self, name: str) -> Value:
        inputs = self.plan.inputs
        if name not in inputs:
            raise GraphFault(
                f"the net has no input '{name}'{did_you_mean(name, inputs)}: "
                f"its inputs are {some(inputs) or 'none (its data come from data layers)'}"
            )
        return inputs[name]

    def _value_before(self, name: str, first: int) -> Value:
        """What the name means where layer `first` begins; at the beginning, an input."""
        made = [value for step in self.plan.steps[:first] for value in step.tops if value.name == name]
        return made[-1] if made else self._input(name)

    def _copy(self, array: Array) -> Array:
        return self.backend.xp.array(self.backend.asarray(array), order="C", copy=True)

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
        if not self._goes_back:
            raise GraphFault(
                "a net in the TEST phase saves nothing for backward: build it with keep='all', or in the TRAIN phase"
            )

    # -- weights and state -------------------------------------------------------------------------

    def load(self, source: str | os.PathLike | Mapping) -> LoadReport:
        """Load weights by layer name from a file of any format, several joined by commas, or {layer: arrays}.

        WeightsFault where a shape differs or no layer matches; then nothing has changed.
        """
        report, pairs = match_weights(self.plan.steps, self.plan.shared, source)
        for param, array in pairs:
            owner = self.plan.shared.get(param, param)
            if owner.data is None:
                owner.data = self.backend.empty(owner.shape)
            owner.data[...] = self.backend.asarray(array.reshape(owner.shape))  # views and sharers see it
        self.backend.invalidate_weight_cache()
        return report

    def save(self, path: str | os.PathLike, grads: bool = False) -> None:
        """Write the weights, and with `grads` their gradients, in the format of the path's ending."""
        weights = {
            step.name: [self.backend.to_host(param.data) for param in step.layer.params] for step in self.plan.steps
        }
        diffs = {
            step.name: [None if param.grad is None else self.backend.to_host(param.grad) for param in step.layer.params]
            for step in self.plan.steps
        }
        write_weights(path, weights, net=self.to_message(), grads=diffs if grads else None)

    def share_with(self, other: Net) -> None:
        """Use the weights of another net's layers of the same names: the same arrays, not copies."""
        if self.backend.xp is not other.backend.xp:
            raise GraphFault("nets on different devices cannot share weights: load a copy instead")
        for name, theirs in other.params.items():
            ours = self.params.get(name, theirs)
            shapes = [[shape_text(param.shape) for param in params] for params in (ours, theirs)]
            if shapes[0] != shapes[1]:
                raise WeightsFault(
                    f"layer '{name}' has arrays {shapes[0]} here and {shapes[1]} in the net "
                    "to share with: make them alike, or rename the layer"
                )
            for param, source in zip(ours, theirs, strict=True):
                param.data = source.data

    def to_message(self) -> NetParameter:
        """The net of this phase as Caffe would write it; its `blobs` say shapes and hold no values."""
        return written(self.plan)

    def state(self) -> dict:
        """What an exact restart needs beside the weights, as JSON values: random state and data positions."""
        layers = {step.name: state for step in self.plan.steps if (state := step.layer.state())}
        return {"random": self.backend.random_state(), "layers": layers}

    def load_state(self, state: Mapping) -> None:
        """Take up what `state` gave; layers that the net does not have are passed over."""
        self.backend.set_random_state(state["random"])
        for name, layer_state in state["layers"].items():
            if name in self.plan.by_name:
                self.plan.by_name[name].layer.load_state(layer_state)

    def close(self) -> None:
        """Release files and threads."""
        self.plan.close()


def _kept_names(keep: str | Iterable[str], known: Iterable[str]) -> set[str] | None:
    if isinstance(keep, str):
        if keep not in ("needed", "all"):
            raise SchemaFault(f"keep is 'needed', 'all' or a list of blob names, not '{keep}'")
        return None if keep == "all" else set()
    for name in keep:
        if name not in known:
            raise GraphFault(f"the net has no blob '{name}' to keep{did_you_mean(name, known)}")
    return set(keep)


def _call(hooks: list[Callable[[int], None]], step: Step) -> None:
    for hook in tuple(hooks):  # a hook may take itself out
        hook(step.index)
