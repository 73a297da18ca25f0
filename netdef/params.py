"""The learned arrays of a net: how fast each learns, who shares whose, and filling them.

Params with the same non-empty name share one array, which belongs to the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from demitasse.layers.backend.contract import Backend
from demitasse.layers.fillers import fill
from demitasse.layers.layer import Param
from demitasse.netdef.build_warnings import heading
from demitasse.netdef.fields import own_fields
from demitasse.netdef.graph import Step
from demitasse.netdef.weight_matching import LoadReport, fitted
from demitasse.netdef.wording import at, count_text, shape_text
from demitasse.proto.arrays import blobproto_to_array
from demitasse.proto.errors import GraphFault, WeightsFault
from demitasse.proto.messages import ParamSpec
from demitasse.proto.warning import warn


@dataclass
class _Owner:
    """The first param of a name, and who has set its rates."""

    param: Param
    step: Step
    rates: dict[str, Step]  # "lr_mult" -> the layer that gave it


def bind_params(steps: Sequence[Step]) -> dict[Param, Param]:
    """Give every param the name and the rates that its layer's `param { ... }` entries say.

    Returns {param: owner} for those that share another's array; GraphFault where they cannot.
    """
    owners: dict[str, _Owner] = {}
    shared: dict[Param, Param] = {}
    for step in steps:
        with step.located:
            for param in step.layer.params if step.spec.freeze_learning else ():  # of MyCaffe
                param.lr_mult = 0.0
            for index, spec in enumerate(_entries(step)):
                param = step.layer.params[index]
                if param.lr_mult:  # 0 already: the layer learns it in its own way, or not at all
                    _set_rates(param, spec)
                if not spec.name:
                    continue
                param.name = spec.name
                owner = owners.setdefault(spec.name, _Owner(param, step, {}))
                _agree_on_rates(owner, step, param, spec)
                if owner.param is not param:
                    _check_shapes(owner, param, spec)
                    shared[param] = owner.param
    for param, shown in shared.items():
        param.lr_mult, param.decay_mult = shown.lr_mult, shown.decay_mult
    return shared


def fill_params(steps: Iterable[Step], shared: Mapping[Param, Param], backend: Backend) -> None:
    """Allocate the data of every param that has none: its owner's array, what the text gives it as `blobs`, or
    by its filler; zeros without one."""
    for step in steps:
        with step.located:
            given = _given_in_text(step)
            for param in step.layer.params:
                if param in shared:
                    param.data = shared[param].data.reshape(param.shape)
                elif param.data is None and param in given:
                    param.data = backend.asarray(given[param])
                elif param.data is None and param.filler is None:
                    param.data = backend.zeros(param.shape)
                elif param.data is None:
                    param.data = backend.asarray(fill(param.shape, param.filler, backend.rng, backend.dtype))


def _given_in_text(step: Step) -> dict[Param, np.ndarray]:
    """The values in the layer's own `blobs`, as a net that was read from a .caffemodel has them."""
    arrays = [blobproto_to_array(blob) for blob in step.spec.blobs if blob.data or blob.double_data or blob.raw_data]
    if arrays and len(arrays) != len(step.layer.params):
        raise WeightsFault(
            f"gives the values of {count_text(len(arrays), 'array')} as blobs, but has "
            f"{len(step.layer.params)}{_listed(step.layer.params)}: give all or none"
        )
    report = LoadReport("the layer's blobs")
    return {
        param: fitted(array, param.shape, f"array {index}", report)
        for index, (param, array) in enumerate(zip(step.layer.params, arrays, strict=False))
    }


def allocate_grads(params: Iterable[Param], shared: Mapping[Param, Param], backend: Backend) -> None:
    """A zero gradient for each of these params; sharers add to their owner's."""
    for param in params:
        owner = shared.get(param, param)
        if owner.grad is None:
            owner.grad = backend.zeros(owner.shape)
        param.grad = owner.grad.reshape(param.shape)


def _entries(step: Step) -> Sequence[ParamSpec]:
    """The layer's `param { ... }` entries, one for each learned array at most.

    MyCaffe's nets have one for the bias of a layer without a bias, too: that is told, where Caffe stops.
    """
    entries, there = list(step.spec.param), len(step.layer.params)
    without_bias = any(getattr(getattr(step.spec, name), "bias_term", True) is False for name in own_fields(step.cls))
    if len(entries) == there + 1 and without_bias and not entries[-1].name:
        warn(f"{heading(step)}its last param entry is for a bias, but bias_term is false: it has no effect")
        entries.pop()
    if len(entries) > there:
        raise GraphFault(
            f"gives {len(entries)} param entries, but has {there} learned arrays"
            f"{_listed(step.layer.params)}: one entry for each, at most"
        )
    return entries


def _listed(params: Sequence[Param]) -> str:
    return f" ({', '.join(shape_text(param.shape) for param in params)})" if params else ""


def _set_rates(param: Param, spec: ParamSpec) -> None:
    if spec.HasField("lr_mult"):
        param.lr_mult = spec.lr_mult
    if spec.HasField("decay_mult"):
        param.decay_mult = spec.decay_mult


def _agree_on_rates(owner: _Owner, step: Step, param: Param, spec: ParamSpec) -> None:
    """A rate is that of whoever gives it; two who give it must give the same."""
    for rate in ("lr_mult", "decay_mult"):
        if not spec.HasField(rate):
            continue
        first = owner.rates.setdefault(rate, step)
        ours, theirs = getattr(param, rate), getattr(owner.param, rate)
        if first is step:
            setattr(owner.param, rate, ours)
        elif ours != theirs:
            raise GraphFault(
                f"shares param '{spec.name}' with {rate} {ours:g}, but layer '{first.name}'"
                f"{at(first.where)} gives it {theirs:g}: write the same, or leave it out here"
            )


def _check_shapes(owner: _Owner, param: Param, spec: ParamSpec) -> None:
    permissive = spec.share_mode == ParamSpec.PERMISSIVE
    if param.shape == owner.param.shape or (permissive and param.count == owner.param.count):
        return
    remedy = (
        "the counts differ"
        if permissive
        else "set share_mode: PERMISSIVE to compare counts only"
        if param.count == owner.param.count
        else "give one of them another param name"
    )
    raise GraphFault(
        f"shares param '{spec.name}' with layer '{owner.step.name}'{at(owner.step.where)}, but its shape "
        f"is {shape_text(param.shape)} here and {shape_text(owner.param.shape)} there: {remedy}"
    )
