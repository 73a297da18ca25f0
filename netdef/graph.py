"""Layers wired by values: which result of which layer every bottom reads.

A top always makes a new value; a bottom reads the newest value of its name.  So an in-place ReLU is an
ordinary layer whose top happens to reuse a name, and a value read twice is simply read twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NoReturn

from demitasse.layers.layer import TEST, TRAIN, Layer, Shape, layer_class
from demitasse.netdef.wording import at, count_text, some, times_text
from demitasse.proto.errors import GraphFault, LabelFault, NetError, ShapeFault, Where, did_you_mean, located
from demitasse.proto.input_paths import MissingFile
from demitasse.proto.messages import LayerParameter


@dataclass(eq=False)
class Value:
    """One result of one layer: what its name means until the name is produced again."""

    name: str
    producer: Step
    slot: int  # which top of the producer it is
    readers: list[Step] = field(default_factory=list)  # in order; a layer that reads it twice is there twice
    loss_weight: float = 0.0  # its share in the net's loss
    shape: Shape = ()  # the newest inferred one


@dataclass(eq=False)
class Step:
    """One layer of the net, the values it reads and the values it makes."""

    index: int
    spec: LayerParameter
    where: Where
    cls: type[Layer]
    bottoms: list[Value] = field(default_factory=list)
    tops: list[Value] = field(default_factory=list)
    layer: Layer = None  # type: ignore[assignment]  # until the plan sets it up
    need: list[bool] = field(default_factory=list)  # which bottoms get a gradient
    backward: bool = False  # whether it takes part in the backward pass
    sized_for: list[Shape] | None = None  # the bottom shapes of the last `infer`
    is_input: bool = field(init=False)

    def __post_init__(self):
        self.is_input = self.cls.given_by_user

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.spec.name

    @property
    def label(self) -> str:
        """How messages speak of it: 'conv1' (Convolution)."""
        return label_of(self.spec)

    @property
    def folder(self) -> str:
        """Of the prototxt that it is written in."""
        return os.path.dirname(self.where.file)

    @cached_property
    def located(self) -> _Located:
        """`with step.located:` says on any error raised inside that it was in this layer, and where that is written."""
        return _Located(self)

    def located_error(self, error: Exception) -> Exception:
        """The error with this layer and its location, or the one to be raised instead of it."""
        if isinstance(error, NetError):
            if isinstance(error, MissingFile) and error.layer is None:
                error.also_beside(self.folder)
            error.where = self.where if error.where is None else error.where
            if error.layer is None:
                error.layer = self.label
                if isinstance(error, LabelFault) and error.label is not None and self.cls.ignores:
                    error.what += (
                        f", or mark such pixels or items with {self.cls.ignores} {{ ignore_label: {error.label} }}"
                    )
        elif isinstance(error, MemoryError) and not hasattr(error, "raised_by"):
            return self._out_of_memory(error)
        else:
            vars(error)["layer_location"] = f"{self.where}{': ' * bool(str(self.where))}layer {self.label}"
            if hasattr(error, "add_note"):  # a Python layer's own; notes exist since Python 3.11
                error.add_note(f"in layer {self.label}{at(self.where)}")
        return error

    def reraise(self, error: Exception) -> NoReturn:
        """What leaving `located` by this error does; for where entering it at every call would cost too much."""
        other = self.located_error(error)
        if other is not error:
            raise other from None
        raise error

    def _out_of_memory(self, error: MemoryError) -> ShapeFault:
        detail = f": {error}" if str(error) else ""
        return ShapeFault(
            f"not enough memory{detail}; use smaller images, a smaller batch or fewer channels",
            self.where,
            self.label,
        )


class _Located:
    """What every layer runs inside: where there is no error, nothing is done."""

    __slots__ = ("step",)

    def __init__(self, step: Step):
        self.step = step

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, Exception):
            other = self.step.located_error(error)
            if other is not error:
                raise other from None


def label_of(spec: LayerParameter) -> str:
    """How messages speak of a layer: 'conv1' (Convolution)."""
    return f"'{spec.name}' ({spec.type or 'no type'})"


def wire(
    specs: Sequence[LayerParameter],
    wheres: Sequence[Where],
    absent: Mapping[str, Sequence[str]] | None = None,
    state: str = "",
) -> list[Step]:
    """The layers as steps joined by values, in the order of the text; GraphFault where they do not join.

    The specs are completed: a layer without a name gets that of its first top or its type, a loss its tops.
    absent: {top: its layers} of layers that the net has in other states only, and the state that this one is in, to
    be named in faults.
    """
    _name_the_nameless(specs)
    wiring = _Wiring(specs, wheres, absent or {}, state)
    for spec, where in zip(specs, wheres, strict=True):
        with located(where, label_of(spec)):
            wiring.add(spec, where)
    return wiring.steps


class _Wiring:
    def __init__(self, specs, wheres, absent, state):
        self.specs, self.wheres, self.absent, self.state = specs, wheres, absent, state
        self.steps: list[Step] = []
        self.newest: dict[str, Value] = {}  # blob name -> what it means at this point of the text

    def add(self, spec: LayerParameter, where: Where) -> None:
        step = Step(len(self.steps), spec, where, layer_class(spec.type, (other.type for other in self.specs)))
        _check_arity(step)
        step.bottoms = [self._read(name, index, step) for index, name in enumerate(spec.bottom)]
        spec.top.extend(self._automatic_tops(step))
        step.tops = [self._make(name, slot, step) for slot, name in enumerate(spec.top)]
        _weigh_losses(step)
        self.steps.append(step)
        for value in step.bottoms:
            value.readers.append(step)
        self.newest.update((value.name, value) for value in step.tops)

    def _read(self, name: str, index: int, step: Step) -> Value:
        if name in self.newest:
            return self.newest[name]
        where = step.where.fields.get(f"bottom[{index}]")
        for spec, other in zip(self.specs[step.index :], self.wheres[step.index :], strict=True):
            if name in spec.top:
                whose = "this layer itself" if spec is step.spec else f"layer '{spec.name}'{at(other)}, further down"
                raise GraphFault(f"bottom '{name}' is made by {whose}: a layer reads what layers above it make", where)
        what = f"bottom {index} reads '{name}', which "
        if name in self.absent:
            makers = self.absent[name]
            whose = "layer {} makes, and that is not" if len(makers) == 1 else "layers {} make, none of which is"
            raise GraphFault(
                f"{what}only {whose.format(' and '.join(makers))} part of the {self.state}: change their include and "
                "exclude rules, give the stage they ask for (train_state or test_state { stage } of a solver, --stage "
                "of a command), or exclude this layer too",
                where,
            )
        near = did_you_mean(name, self.newest)
        others = some(self.newest) or "none: begin with a data layer or an Input"
        raise GraphFault(f"{what}no layer makes{near or f'; there are {others}'}", where)

    def _make(self, name: str, slot: int, step: Step) -> Value:
        where = step.where.fields.get(f"top[{slot}]")
        if name in list(step.spec.top)[:slot]:
            raise GraphFault(f"has two tops called '{name}': give each its own name", where)
        earlier = self.newest.get(name)
        if earlier is not None:
            maker = f"layer '{earlier.producer.name}'{at(earlier.producer.where)}"
            in_place = slot < len(step.bottoms) and step.bottoms[slot] is earlier
            if not in_place:
                remedy = _phases(earlier.producer.spec, step.spec) or "give this one another name"
                raise GraphFault(f"top '{name}' is already made by {maker}: {remedy}", where)
            if not step.cls.in_place:
                raise GraphFault(
                    f"top '{name}' has the name of its bottom (made by {maker}), but {step.cls.type} does "
                    f'not work in place: name the top differently, as top: "{step.name}"',
                    where,
                )
        return Value(name, step, slot)

    def _automatic_tops(self, step: Step) -> list[str]:
        """Losses may leave out their tops; they are then called after the layer."""
        names: list[str] = []
        if step.cls.is_loss and len(step.spec.top) < step.cls.tops[0]:
            taken = set(self.newest) | {name for spec in self.specs for name in spec.top}
            for _ in range(step.cls.tops[0] - len(step.spec.top)):
                names.append(_unused(step.name, taken))
                taken.add(names[-1])
        return names


def _phases(first: LayerParameter, second: LayerParameter) -> str:
    """What two data layers that make the same top lack: each a phase of its own; nothing for other layers."""
    if first.bottom or second.bottom or all(spec.include or spec.exclude for spec in (first, second)):
        return ""
    other = next((rule.phase for spec in (first, second) for rule in spec.include if rule.HasField("phase")), TEST)
    lacking = [spec for spec in (first, second) if not spec.include]
    phases = [TRAIN if other == TEST else TEST, other][: len(lacking)]
    rules = (
        f"include {{ phase: {'TRAIN' if phase == TRAIN else 'TEST'} }} to '{spec.name}'"
        for spec, phase in zip(lacking, phases, strict=False)
    )
    return f"to have one of them in each phase, add {' and '.join(rules)}"


def _name_the_nameless(specs: Sequence[LayerParameter]) -> None:
    taken = {spec.name for spec in specs}
    for spec in specs:
        if not spec.name:
            spec.name = _unused(spec.top[0] if spec.top else spec.type.lower() or "layer", taken)
            taken.add(spec.name)


def _unused(name: str, taken: set[str]) -> str:
    candidate, count = name, 2
    while candidate in taken:
        candidate, count = f"{name}_{count}", count + 1
    return candidate


def _check_arity(step: Step) -> None:
    cls, bottoms, tops = step.cls, len(step.spec.bottom), len(step.spec.top)
    _check_count(f"{cls.type} reads", "bottom", bottoms, *cls.bottoms)
    least, most = cls.tops
    _check_count(f"{cls.type} makes", "top", tops, 0 if cls.is_loss else least, most)
    if cls.same_count and bottoms != tops:
        raise GraphFault(
            f"{cls.type} makes one top for each bottom, but here are {count_text(bottoms, 'bottom')} "
            f"and {count_text(tops, 'top')}"
        )


def _check_count(who: str, what: str, count: int, least: int, most: int | None) -> None:
    if count >= least and (most is None or count <= most):
        return
    if most is None:
        wanted = f"at least {count_text(least, what)}"
    elif least == most:
        wanted = count_text(least, what) if least else f"no {what}s"
    else:
        wanted = f"{least} to {count_text(most, what)}"
    remedy = f'add {what}: "..."' if most is None or count < least else f"take out {count - most}"
    raise GraphFault(f"{who} {wanted}, but here {'is' if count == 1 else 'are'} {count or 'none'}: {remedy}")


def _weigh_losses(step: Step) -> None:
    """Every top takes its loss_weight; the first top of a loss counts fully unless it says otherwise."""
    weights = list(step.spec.loss_weight)
    if weights and len(weights) != len(step.tops):
        raise GraphFault(
            f"gives loss_weight {times_text(len(weights))} for {count_text(len(step.tops), 'top')}: "
            "give one for each top, or none"
        )
    if not weights and step.cls.is_loss:
        weights = [1.0]
    for value, weight in zip(step.tops, weights, strict=False):
        value.loss_weight = weight


def learned_by_name(steps: Iterable[Step]) -> dict[str, Step]:
    """The layers with weights; the first of those that share a name, and with it all their weights."""
    learned: dict[str, Step] = {}
    for step in steps:
        if step.layer.params:
            learned.setdefault(step.name, step)
    return learned
