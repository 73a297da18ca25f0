"""Which layers a net has in a given state: the include and exclude rules on phase, level and stage.

A layer may have include rules or exclude rules, not both.  With include rules it is there when one of
them is met; otherwise it is there unless an exclude rule is met.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from demitasse.layers.layer import TEST, TRAIN
from demitasse.proto.errors import GraphFault, SchemaFault, Where, located
from demitasse.proto.messages import LayerParameter, NetParameter, NetState, NetStateRule


def phase_number(phase: str | int) -> int:
    """0 for "TRAIN", 1 for "TEST"; the numbers themselves pass.  SchemaFault for any other."""
    numbers = {"TRAIN": TRAIN, "TEST": TEST, TRAIN: TRAIN, TEST: TEST}
    key = phase.upper() if isinstance(phase, str) else phase
    if key not in numbers:
        remedy = f"; weights are given by name: weights={phase!r}" if "." in str(phase) else ""
        raise SchemaFault(f"the phase is TRAIN or TEST, not {phase!r}{remedy}")
    return numbers[key]


def net_state(net: NetParameter, phase: str | int, level: int = 0, stages: Iterable[str] = ()) -> NetState:
    """The state to build `net` in: the one asked for, on top of the one its own `state` field gives.

    SchemaFault where stages is one text.
    """
    if isinstance(stages, str):
        raise SchemaFault(f"stages is a list of names: write [{stages!r}]")
    state = NetState()
    state.CopyFrom(net.state)
    state.phase = phase_number(phase)
    state.level = level or net.state.level
    state.stage.extend(stage for stage in stages if stage not in state.stage)
    return state


def filter_net(
    net: NetParameter, wheres: Sequence[Where], phase: str | int, level: int = 0, stages: Iterable[str] = ()
) -> tuple[NetParameter, list[Where]]:
    """A copy of `net` with the layers of this state only, and their locations; `state` says which state it is."""
    state = net_state(net, phase, level, stages)
    kept, locations = NetParameter(), []
    kept.CopyFrom(net)
    del kept.layer[:]
    kept.state.CopyFrom(state)
    for layer, where in zip(net.layer, wheres, strict=True):
        with located(where, f"'{layer.name}' ({layer.type})"):
            if is_included(layer, state):
                kept.layer.add().CopyFrom(layer)
                locations.append(where)
    return kept, locations


def is_included(layer: LayerParameter, state: NetState) -> bool:
    """Whether the layer is part of a net in this state.  GraphFault where it has both kinds of rules."""
    if layer.include and layer.exclude:
        raise GraphFault("has include and exclude rules: give one kind or the other")
    if layer.include:
        return any(rule_is_met(rule, state) for rule in layer.include)
    return not any(rule_is_met(rule, state) for rule in layer.exclude)


def rule_is_met(rule: NetStateRule, state: NetState) -> bool:
    """Every condition that the rule states must hold."""
    present = set(state.stage)
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and present.issuperset(rule.stage)
        and present.isdisjoint(rule.not_stage)
    )
