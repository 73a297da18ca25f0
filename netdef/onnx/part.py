"""The part of a net that is exported: all of it, or what some blobs need."""

from __future__ import annotations

from collections.abc import Sequence

from demitasse.netdef.graph import Step, Value
from demitasse.netdef.plan import Plan
from demitasse.netdef.wording import some
from demitasse.proto.errors import SchemaFault, did_you_mean
from demitasse.proto.messages import NetParameter


class Part:
    """The steps of a plan that make `outputs` (all of its steps where none are named), with what a plan says of them.

    SchemaFault for an output that is no blob of the net, or one of its inputs.
    """

    def __init__(self, plan: Plan, outputs: Sequence[str] = ()):
        self.phase, self.wheres = plan.phase, plan.wheres
        self.outputs = list(outputs) or plan.outputs
        for name in outputs:
            _require_made(plan, name)
        self.steps = _needed(plan, [plan.newest[name] for name in outputs]) if outputs else plan.steps
        self.values: list[Value] = [value for step in self.steps for value in step.tops]
        self.newest = {value.name: value for value in self.values}
        given = [value for step in self.steps if step.is_input for value in step.tops]
        read = {value for step in self.steps for value in step.bottoms}
        self.inputs = {value.name: value for value in given if value in read or not outputs}
        self.message = NetParameter()
        self.message.CopyFrom(plan.message)
        if outputs:
            del self.message.layer[:]
            self.message.layer.extend(step.spec for step in self.steps)


def _require_made(plan: Plan, name: str) -> None:
    if name not in plan.newest:
        near = did_you_mean(name, plan.newest) or f": it has {some(plan.newest)}"
        raise SchemaFault(f"--outputs {name}: the net has no blob '{name}'{near}")
    if plan.newest[name].producer.is_input:
        raise SchemaFault(f"--outputs {name}: '{name}' is an input of the net; name what layers make")


def _needed(plan: Plan, values: Sequence[Value]) -> list[Step]:
    """The steps that these values come from, in their order."""
    steps, waiting = set[Step](), list(values)
    while waiting:
        step = waiting.pop().producer
        if step not in steps:
            steps.add(step)
            waiting += step.bottoms
    return [step for step in plan.steps if step in steps]
