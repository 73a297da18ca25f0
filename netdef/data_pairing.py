"""Data layers that go their own way although their samples meet in one loss: no error, but nothing is learned.

Images and labels from two Data layers fit each other only while both give the same sample, cut and mirrored alike.
Each draws its own crops, mirrors and orders, so that two layers that draw never agree; layers of different lengths
agree until the shorter one begins again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from demitasse.netdef.graph import Step, Value
from demitasse.netdef.wording import at

REMEDY = "let one layer give both (DenseImageData, HDF5Data with two tops, or the Python layer of folder_layers)"


def unpaired_sources(steps: Sequence[Step]) -> list[str]:
    """A line for each pair of data layers whose samples meet in a loss or metric without belonging together.

    Asked of losses and metrics that compare values with such as come unlearned (labels, targets): two branches that
    both learn something, as those of triplets or of domain adaptation, may well see samples that are strangers.
    """
    told: dict[tuple[Step, Step], str] = {}
    for step in steps:
        if not (step.cls.never_differentiable or any(top.loss_weight for top in step.tops)):
            continue
        for value, label in _meeting(step):
            pair = value.producer, label.producer
            if pair not in told and pair[::-1] not in told and (line := _mismatch(value, label)):
                told[pair] = f"{_named(pair[0])} and {_named(pair[1])} meet in layer {step.label}, but {line}"
    return list(told.values())


def _meeting(step: Step) -> Iterator[tuple[Value, Value]]:
    """(a data layer's top behind one bottom, another layer's behind an unlearned bottom)."""
    origins = [_origins(value) for value in step.bottoms]
    direct = [index for index, (_, learned) in enumerate(origins) if not learned]
    for label_index in direct:
        for index, (values, _) in enumerate(origins):
            if index == label_index or (index in direct and index > label_index):
                continue
            for value in values:
                yield from ((value, label) for label in origins[label_index][0] if label.producer is not value.producer)


def _origins(value: Value) -> tuple[list[Value], bool]:
    """(the tops of data layers that a value is made of, whether learned arrays have had a part in it).

    Where a layer joins batches to a longer one, samples meet that need not belong together: the search ends there.
    """
    found: dict[Value, None] = {}
    learned, todo, seen = False, [value], set()
    while todo:
        value = todo.pop()
        step = value.producer
        if value in seen:
            continue
        seen.add(value)
        learned = learned or bool(step.layer.params)
        if step.layer.stream() is not None:
            found[value] = None
        batches = {value.shape[:1] for value in (*step.bottoms, *step.tops)}
        if len(step.bottoms) == 1 or len(batches) == 1:
            todo += step.bottoms
    return list(found), learned


def _mismatch(value: Value, label: Value) -> str:
    """Why samples of these two tops do not belong together; empty where they do."""
    one, other = value.producer.layer.stream(), label.producer.layer.stream()
    if one is None or other is None:
        return ""
    order = _settings(one.order), _settings(other.order)
    looks = _settings(one.looks), _settings(other.looks)
    if one == other and one.seed is not None:
        return ""
    if one.order or other.order:
        return f"the order of their samples is not the same ({_both(value, label, *order)}): {REMEDY}"
    if (one.looks or other.looks) and _is_map(value) and _is_map(label):
        return f"each draws for itself ({_both(value, label, *looks)}): {REMEDY}, or crop and mirror beforehand"
    if one.count and other.count and one.count != other.count and 1 not in (one.count, other.count):
        counts = _both(value, label, f"{one.count} samples", f"{other.count} samples")
        return f"their lengths differ ({counts}): they part where the shorter one begins again; make both from one list"
    return ""


def _settings(drawn: Sequence[str]) -> str:
    return ", ".join(drawn) or "nothing"


def _both(value: Value, label: Value, one: str, other: str) -> str:
    return f"'{value.producer.name}': {one}; '{label.producer.name}': {other}"


def _named(step: Step) -> str:
    return f"{step.label}{at(step.where)}"


def _is_map(value: Value) -> bool:
    """Whether a sample has pixels, as images have, and not just one number or vector."""
    return len(value.shape) > 2 and max(value.shape[2:]) > 1
