"""A net without arrays: its layers wired, set up and sized, and what is to be done with them.

    text -> messages -> layers of this phase -> values -> shapes -> learned arrays -> gradients

A plan is enough to size, draw and crop a net; `Net` puts arrays to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property

from demitasse.layers.fillers import check_filler
from demitasse.layers.layer import TRAIN, Param, Shape
from demitasse.netdef.assumed_sizes import assume_sizes
from demitasse.netdef.build_warnings import warn_of_layers, warn_of_net
from demitasse.netdef.crops import set_offset
from demitasse.netdef.gradient import plan_gradients
from demitasse.netdef.graph import Step, Value, label_of, learned_by_name, wire
from demitasse.netdef.inputs import declare_inputs
from demitasse.netdef.memory_check import require_memory
from demitasse.netdef.params import bind_params
from demitasse.netdef.phase import filter_net
from demitasse.netdef.wording import at
from demitasse.proto.errors import GraphFault, SchemaFault, Where
from demitasse.proto.input_paths import MissingFile, find_files
from demitasse.proto.messages import NetParameter
from demitasse.proto.text import read_net
from demitasse.proto.unknown_fields import require_none_refused


class Plan:
    """The steps of a net in order, joined by values.

    source: a path, prototxt text with a newline in it, or a NetParameter.
    auto_crop: let a Crop without crop_param cut where the coordinates of its bottoms say, not from offset 0 on.
    inputs: {top: shape} of Input layers, and of data layers that are to be replaced by Input layers.
    backend: given to the layers; None where nothing is to be computed.
    Raises the faults of proto.errors, each with its file, line and layer.
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
    ):
        message, wheres = read_net(source)
        self.message, self.wheres = filter_net(message, wheres, phase, level, stages)
        declare_inputs(self.message.layer, self.wheres, inputs or {})
        self.phase = self.message.state.phase
        self.steps = wire(self.message.layer, self.wheres, _tops_of(message, wheres), self.state_text)
        self._check_not_empty(message, source)
        self.by_name = {step.name: step for step in reversed(self.steps)}  # the first of a name, as in pycaffe
        self._advised: set[str] = set()
        self.settled = False  # whether only an input's shape can change any other
        self.sizes = 0  # counts up whenever some shape has changed
        try:
            self._set_up_all(backend, auto_crop)
            warn_of_net(self.steps, self._advised)
            self._fitting = {value: value.shape for value in self.inputs.values()}  # as all others were inferred from
            self.shared = bind_params(self.steps)
            _check_names(self.steps, self.shared)
            plan_gradients(self.steps, self.message.force_backward)
            self.on_host = backend is not None and backend.capabilities.host_memory
            self._require_memory()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the files and threads of the layers that are set up."""
        for step in self.steps:
            if step.layer is not None:
                step.layer.close()

    def _check_not_empty(self, message: NetParameter, source: str | os.PathLike | NetParameter) -> None:
        if not self.steps:
            file = "" if isinstance(source, NetParameter) or "\n" in os.fspath(source) else os.fspath(source)
            reason = "no layer" if not message.layer else f"no layer in the {'TRAIN' if self.trains else 'TEST'} phase"
            raise SchemaFault(f"the net has {reason}: write layer {{ ... }} blocks", Where(file))

    def _set_up_all(self, backend, auto_crop: bool) -> None:
        try:
            for step in self.steps:
                self._set_up(step, backend, auto_crop)
        except MissingFile as missing:
            if backend is not None or missing.layer not in [step.label for step in self.steps if not step.bottoms]:
                raise
            assume_sizes(self.steps, lambda step: self._set_up(step, None, auto_crop), missing)

    def _set_up(self, step: Step, backend, auto_crop: bool) -> None:
        with step.located:
            shapes = [value.shape for value in step.bottoms]
            if not step.spec.HasField("phase"):
                step.spec.phase = self.phase
            if auto_crop:
                set_offset(step)
            require_none_refused(step.spec, step.where)
            find_files(step.spec, step.folder)
            step.layer = step.cls(step.spec, step.spec.phase, backend)
            step.layer.folder = step.folder
            step.layer.params = step.layer.setup(shapes)
            for param in step.layer.params:
                check_filler(param.filler, param.shape)
            infer(step, shapes)

    # -- what is in it -----------------------------------------------------------------------------

    @property
    def trains(self) -> bool:
        """Whether the net is in the TRAIN phase."""
        return self.phase == TRAIN

    @property
    def state_text(self) -> str:
        """The TRAIN net (stage 'val'), for messages."""
        state = self.message.state
        stages = f" (stage {', '.join(map(repr, map(str, state.stage)))})" if state.stage else " (no stage given)"
        return f"{'TRAIN' if self.trains else 'TEST'} net{stages}{f' at level {state.level}' if state.level else ''}"

    @cached_property
    def values(self) -> list[Value]:
        """Every value, in the order they are made."""
        return [value for step in self.steps for value in step.tops]

    @cached_property
    def losses(self) -> list[Value]:
        """The values with a loss_weight, which together make the net's loss."""
        return [value for value in self.values if value.loss_weight]

    @cached_property
    def inputs(self) -> dict[str, Value]:
        """The tops of Input layers, by name."""
        return {value.name: value for step in self.steps if step.is_input for value in step.tops}

    @cached_property
    def newest(self) -> dict[str, Value]:
        """What each blob name means at the end of the net, in the order the names first appear."""
        return {value.name: value for value in self.values}

    @cached_property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads, in alphabetical order."""
        return sorted(name for name, value in self.newest.items() if not value.readers)

    @cached_property
    def params(self) -> dict[str, list[Param]]:
        """The learned arrays by layer, of the layers that have some."""
        return {name: step.layer.params for name, step in learned_by_name(self.steps).items()}

    @cached_property
    def learnable(self) -> list[Param]:
        """Every learned array once, in order."""
        return [param for params in self.params.values() for param in params if param not in self.shared]

    # -- sizes -------------------------------------------------------------------------------------

    def reshape_value(self, value: Value, shape: Shape) -> None:
        """Give a value another shape, for `resize` to take up: inputs keep it, other layers say their own anew."""
        if not value.producer.is_input:
            value.producer.sized_for = None
        self.resize_value(value, tuple(int(size) for size in shape))

    def resize_value(self, value: Value, shape: Shape) -> None:
        """Take up the shape that a value has turned out to have; the layers behind it are to be sized anew."""
        value.shape = shape
        self.settled = False
        self.sizes += 1

    def size_step(self, step: Step) -> None:
        """Infer the shapes of a layer's tops, where those of its bottoms have changed since that was done."""
        shapes = [value.shape for value in step.bottoms]
        if shapes != step.sized_for:
            infer(step, shapes)
            self.settled = False
            self.sizes += 1

    def resize(self, given: Mapping[str, Shape], first: int = 0, last: int | None = None) -> None:
        """Infer the shapes of steps[first..last] where something has changed, with new shapes for inputs.

        Data layers are asked for the shapes of their next batch.  Where the sizes do not fit, ShapeFault, and
        the net has the shapes again that fitted last.
        """
        wanted = {value: tuple(given.get(value.name, value.shape)) for value in self.inputs.values()}
        if self.settled and wanted == self._fitting:
            return
        before = {value: self._fitting.get(value, value.shape) for value in self.values}
        for value, shape in wanted.items():
            value.shape = shape
        try:
            changed = [
                _infer_if_changed(step)
                for step in self.steps[first : None if last is None else last + 1]
                if not step.is_input
            ]
            if any(changed) or wanted != self._fitting:
                self.sizes += 1
                self._require_memory()
        except BaseException:
            self._restore(before)
            raise
        warn_of_layers(self.steps, self._advised)
        self._fitting = wanted
        self.settled = not first and last in (None, len(self.steps) - 1) and not any(map(_sizes_itself, self.steps))

    def _restore(self, shapes: Mapping[Value, Shape]) -> None:
        """Take back a `resize` that did not fit, the layers' own sizes with it."""
        self.settled = False
        self.sizes += 1
        for value, shape in shapes.items():
            value.shape = shape
        for step in self.steps:
            if step.bottoms and step.sized_for != [value.shape for value in step.bottoms]:
                with suppress(Exception):  # it is asked again before it runs; what did not fit is to be told now
                    infer(step, [value.shape for value in step.bottoms])

    def _require_memory(self) -> None:
        if self.on_host:
            require_memory(self.steps, self.trains)


def _check_names(steps: Iterable[Step], shared: Mapping[Param, Param]) -> None:
    """Layers may share a name, as in Caffe, while no more than one of them has weights, or they share these."""
    learned = learned_by_name(steps)
    for step in steps:
        first = learned.get(step.name) if step.layer.params else None
        if first in (None, step):
            continue
        arrays, others = ([shared.get(param, param) for param in each.layer.params] for each in (step, first))
        if arrays != others:
            with step.located:
                raise GraphFault(
                    f"the name '{step.name}' is already that of the {first.cls.type} layer{at(first.where)}: weights "
                    "are stored by name, so each layer with weights needs its own, or shares all of them by "
                    "param { name }"
                )


def _tops_of(message: NetParameter, wheres: Sequence[Where]) -> dict[str, list[str]]:
    """{top: which layers make it} of all layers, those of other states included."""
    makers: dict[str, list[str]] = {}
    for layer, where in zip(message.layer, wheres, strict=True):
        for top in layer.top:
            makers.setdefault(top, []).append(f"{label_of(layer)}{at(where)}")
    return makers


def _sizes_itself(step: Step) -> bool:
    """Whether the shapes of the tops may change where no bottom's does: data layers, Filter, Python layers."""
    return not (step.bottoms or step.is_input) or step.cls.shapes_from_data or step.cls.shapes_vary


def _infer_if_changed(step: Step) -> bool:
    """Whether the layer's tops have other shapes now."""
    shapes, before = [value.shape for value in step.bottoms], [value.shape for value in step.tops]
    if not shapes or shapes != step.sized_for:
        with step.located:
            infer(step, shapes)
    return before != [value.shape for value in step.tops]


def infer(step: Step, shapes: Sequence[Shape]) -> None:
    """Let the layer say the shapes of its tops for these shapes of its bottoms."""
    step.sized_for = None  # stays so if the layer refuses
    for value, shape in zip(step.tops, step.layer.infer(list(shapes)), strict=True):
        value.shape = tuple(int(size) for size in shape)
    step.sized_for = list(shapes)
