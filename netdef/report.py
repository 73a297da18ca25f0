"""The table of a net: what every layer makes, learns, costs and sees, and whether its crops are aligned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from demitasse.netdef.coords import above_value, crop_offset, map_between
from demitasse.netdef.graph import Step
from demitasse.netdef.plan import Plan
from demitasse.netdef.program import Choices, compile_program
from demitasse.netdef.receptive_field import ReceptiveField, receptive_fields
from demitasse.netdef.wording import shape_text
from demitasse.proto.errors import GraphFault, printable

VALUE_BYTES = 4  # float32
HEADINGS = ("layer", "type", "bottoms -> tops", "shape", "params", "MACs", "MB", "stride", "offset", "field")
NUMERIC = frozenset(("params", "MACs", "MB", "stride", "offset", "field"))


@dataclass(frozen=True)
class CropOffset:
    """A Crop layer's offset as it is, and as the coordinates of its bottoms say it should be."""

    name: str
    written: tuple[int, ...]
    right: tuple[int, ...] | None  # None: the blobs cannot be aligned, see `why_not`
    why_not: str = ""

    @property
    def fits(self) -> bool:
        """Whether the offset is the one that the coordinates ask for."""
        return self.right is not None and _one_if_equal(self.written) == _one_if_equal(self.right)

    def __str__(self) -> str:
        written = shape_text(self.written)
        if self.right is None:
            return f"{self.name}: offset {written}; there is no right one: {self.why_not}"
        return (
            f"{self.name}: offset {written} is right"
            if self.fits
            else f"{self.name}: offset {written} is WRONG, it should be {shape_text(self.right)}"
        )


def table(plan: Plan) -> str:
    """The whole report, as lines of text."""
    seen = receptive_fields(plan.steps)
    rows = [_row(step, seen.get(step.tops[0]) if step.tops else None) for step in plan.steps]
    lines = _aligned([HEADINGS, *rows], NUMERIC)
    lines.insert(1, "-" * max(map(len, lines)))
    checks = [f"Crop {crop}" for crop in crops(plan)]
    return "\n".join(map(printable, [*lines, "", *checks, *([""] if checks else []), *totals(plan)]))


def totals(plan: Plan) -> list[str]:
    """What the whole net learns, costs and holds."""
    learned = sum(param.count for param in plan.learnable)
    blobs = sum(math.prod(value.shape) for value in plan.newest.values())
    most, where = live_most(plan)
    return [
        f"net       {plan.message.name or '(no name)'}, {'TRAIN' if plan.trains else 'TEST'} phase, "
        f"{len(plan.steps)} layers",
        f"outputs   {', '.join(plan.outputs)}",
        f"learned   {learned:,} values, {_megabytes(learned)} MB",
        f"forward   {_short(sum(map(macs, plan.steps))) or 0} multiply-adds (FLOPs: twice that)",
        f"blobs     {_megabytes(blobs)} MB all together, at most {_megabytes(most)} MB of them alive at once "
        f"(at '{where}')",
    ]


def macs(step: Step) -> int:
    """Multiply-adds of one forward pass of the layer."""
    return step.layer.macs([value.shape for value in step.bottoms], [value.shape for value in step.tops])


def live_most(plan: Plan) -> tuple[int, str]:
    """The largest number of values alive at once in a forward pass, and the layer where that is."""
    alive = {value: math.prod(value.shape) for value in plan.inputs.values()}
    most = sum(alive.values()), plan.steps[0].name
    for call in compile_program(plan.steps, Choices()).calls:
        alive.update((value, math.prod(value.shape)) for value in call.tops)
        most = max(most, (sum(alive.values()), call.step.name), key=lambda pair: pair[0])
        for value in call.frees:
            alive.pop(value, None)
    return most


def crops(plan: Plan) -> list[CropOffset]:
    """Every Crop layer with the offset it has and the one it should have."""
    return [_check_crop(step) for step in plan.steps if step.cls.crops]


def _check_crop(step: Step) -> CropOffset:
    written = tuple(step.spec.crop_param.offset) or (0,)
    cut, like = step.bottoms
    try:
        _, right = crop_offset(map_between(cut, like, above_value))
    except GraphFault as fault:
        return CropOffset(step.name, written, None, fault.what)
    return CropOffset(step.name, written, tuple(right))


def _row(step: Step, sight: ReceptiveField | None) -> tuple[str, ...]:
    params = sum(param.count for param in step.layer.params)
    in_place = [value.name for value in step.bottoms] == [value.name for value in step.tops]
    blobs = [" + ".join(value.name for value in values) for values in (step.bottoms, step.tops)]
    wiring = f"{blobs[1]} (in place)" if in_place else " -> ".join(blob for blob in blobs if blob)
    made = 0 if in_place else sum(math.prod(value.shape) for value in step.tops)
    shapes = [shape_text(value.shape) for value in step.tops]
    return (
        step.name,
        step.spec.type,
        wiring,
        " + ".join(dict.fromkeys(shapes)),
        f"{params:,}" if params else "",
        _short(macs(step)),
        _megabytes(made) if made else "",
        *(map(_per_axis, (sight.stride, sight.offset, sight.field)) if sight else ("", "", "")),
    )


def _per_axis(values: Sequence[float]) -> str:
    """One number where all axes agree; + 0.0 writes -0 as 0."""
    return shape_text(f"{value + 0.0:.6g}" for value in _one_if_equal(values))


def _one_if_equal(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(values[:1] if len(set(values)) == 1 else values)


def _short(number: int) -> str:
    """18.3 G; nothing for 0."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number) if number else ""


def _megabytes(values: int) -> str:
    return f"{values * VALUE_BYTES / 1e6:,.1f}"


def _aligned(rows: Sequence[Sequence[str]], right: frozenset[str]) -> list[str]:
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, heading in zip(row, widths, HEADINGS, strict=True)
        ).rstrip()
        for row in rows
    ]
