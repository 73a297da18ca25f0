"""Matching the arrays of a weights file to the learned arrays of a net, by layer name.

Everything is checked before anything is written, so a file that does not fit leaves the net as it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from demitasse.layers.layer import Param, Shape
from demitasse.netdef.graph import Step, learned_by_name
from demitasse.netdef.wording import count_text, shape_text, some
from demitasse.proto.errors import WeightsFault
from demitasse.proto.weights import read_weights

# A path, several joined by commas, or {layer: its arrays}.
WeightsSource = str | os.PathLike | Mapping[str, Sequence[np.ndarray | None]]


@dataclass
class LoadReport:
    """What a weights file and a net had in common; str() is the sentence to log."""

    source: str = "the weights"
    matched: list[str] = field(default_factory=list)  # layers that were loaded
    missing: list[str] = field(default_factory=list)  # layers of the net that stayed as they were
    unused: list[str] = field(default_factory=list)  # layers of the file that the net has not
    coerced: list[str] = field(default_factory=list)  # arrays of an old four-axis shape
    values: int = 0  # elements loaded

    @property
    def complete(self) -> bool:
        """Whether the net has all of its weights from there, and nothing was left over."""
        return not (self.missing or self.unused)

    def __str__(self) -> str:
        parts = [f"loaded {count_text(len(self.matched), 'layer')} ({self.values:,} values) from {self.source}"]
        if self.missing:
            parts.append(f"not in the file, so left as they were: {some(self.missing, 12)}")
        if self.unused:
            parts.append(f"not in the net, so not used: {some(self.unused, 12)}")
        if self.coerced:
            parts.append(f"read from four-axis shapes of old: {some(self.coerced)}")
        return "; ".join(parts)


def read_all(source: WeightsSource) -> tuple[str, dict[str, list[np.ndarray | None]]]:
    """(what to call it, {layer: arrays in the shapes given}) of a dict, a path, or several paths joined by commas
    (later ones win)."""
    if isinstance(source, Mapping):
        return "the given arrays", {name: _as_list(arrays) for name, arrays in source.items()}
    name = os.fspath(source)
    paths = [name] if os.path.exists(name) else [path.strip() for path in name.split(",")]
    layers: dict[str, list[np.ndarray | None]] = {}
    for path in paths:
        layers.update((layer, list(arrays)) for layer, arrays in read_weights(path).items())
    return name, layers


def match_weights(
    steps: Sequence[Step], shared: Mapping[Param, Param], source: WeightsSource
) -> tuple[LoadReport, list[tuple[Param, np.ndarray]]]:
    """The report, and which array goes into which param.  WeightsFault where a shape differs or nothing matches."""
    name, layers = read_all(source)
    learned = learned_by_name(steps)
    report, pairs = LoadReport(name), []
    for layer, arrays in layers.items():
        if layer in learned and arrays:
            pairs += _match_layer(learned[layer], arrays, shared, report)
        elif arrays:
            report.unused.append(layer)
    report.missing = [
        layer
        for layer, step in learned.items()
        if layer not in report.matched and not all(param in shared for param in step.layer.params)
    ]
    if learned and not report.matched:
        raise WeightsFault(
            f"{name}: none of its layers has the name of a layer with weights in this net: the file has "
            f"{some(report.unused) or 'no weights'}; the net has {some(learned)}"
        )
    return report, pairs


def _match_layer(step: Step, arrays: Sequence[np.ndarray | None], shared: Mapping, report: LoadReport) -> list:
    params = step.layer.params
    with step.located:
        if len(arrays) != len(params):
            here, there = _listed(param.shape for param in params), _listed(a.shape for a in arrays if a is not None)
            raise WeightsFault(
                f"{report.source} has {there} for it, the net {here}: make them alike (bias_term?), "
                "or rename the layer to learn it from scratch"
            )
        pairs = []
        for index, (param, array) in enumerate(zip(params, arrays, strict=True)):
            label = f"array {index} of '{step.name}'"
            if array is not None:
                pairs.append((param, fitted(array, param.shape, label, report)))
            elif param not in shared:  # HDF5 files leave out what another layer owns
                raise WeightsFault(
                    f"{label} is not in {report.source}, which says that another layer owns it, "
                    "but nothing shares it in this net"
                )
    report.matched.append(step.name)
    report.values += sum(param.count for param in params)
    return pairs


def fitted(array: np.ndarray, shape: Shape, label: str, report: LoadReport) -> np.ndarray:
    """The array in the param's shape; files of old write four axes, the leading ones 1.

    WeightsFault where it has another.
    """
    if array.shape != shape:
        padded = (1,) * (4 - len(shape)) + tuple(shape)
        if array.ndim != 4 or array.shape != padded:
            raise WeightsFault(
                f"{label} is {shape_text(array.shape)} in {report.source}, but "
                f"{shape_text(shape)} in the net{_remedy(array.size, shape)}"
            )
        report.coerced.append(f"{label} {shape_text(array.shape)} as {shape_text(shape)}")
    return array.reshape(shape)


def _remedy(count: int, shape: Shape) -> str:
    same = ", which holds as many numbers: reshape the file's array first, or" if count == np.prod(shape) else ":"
    return f"{same} rename the layer to learn it from scratch"


def _listed(shapes) -> str:
    shapes = [shape_text(shape) for shape in shapes]
    return f"{count_text(len(shapes), 'array')} ({', '.join(shapes)})"


def _as_list(arrays) -> list[np.ndarray | None]:
    several = [arrays] if isinstance(arrays, np.ndarray) else arrays
    return [None if array is None else np.asarray(array) for array in several]
