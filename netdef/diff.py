"""What differs between two nets, or two weights files, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from google.protobuf.message import Message

from demitasse.netdef.wording import shape_text
from demitasse.proto.messages import LayerParameter, NetParameter, is_repeated


def diff_nets(a: NetParameter, b: NetParameter) -> list[str]:
    """One line for each difference; layers are matched by name, fields compared by their meaning.

    A field that says what is the default anyway counts as not written.
    """
    lines = _diff_fields("net", flat(a, skip=("layer",)), flat(b, skip=("layer",)))
    ours, theirs = _by_name(a.layer), _by_name(b.layer)
    for name, layer in ours.items():
        if name in theirs:
            lines += _diff_fields(f"layer '{name}'", flat(layer), flat(theirs[name]))
        else:
            lines.append(f"layer '{name}' ({layer.type}): only in the first")
    lines += [f"layer '{name}' ({theirs[name].type}): only in the second" for name in theirs if name not in ours]
    common = [name for name in ours if name in theirs]
    if common != [name for name in theirs if name in ours]:
        lines.append("net: the layers that both have come in another order")
    return lines


def diff_weights(a: Mapping[str, Sequence[np.ndarray]], b: Mapping[str, Sequence[np.ndarray]]) -> list[str]:
    """One line for each array that differs, with its shapes or the largest difference."""
    lines = []
    for name in dict.fromkeys([*a, *b]):
        if name not in a or name not in b:
            shapes = ", ".join(_shape(array) for array in a.get(name) or b[name])
            lines.append(f"layer '{name}' ({shapes}): only in the {'first' if name in a else 'second'}")
            continue
        if len(a[name]) != len(b[name]):
            lines.append(f"layer '{name}': {len(a[name])} arrays in the first, {len(b[name])} in the second")
        for index, (ours, theirs) in enumerate(zip(a[name], b[name], strict=False)):
            difference = _difference(ours, theirs)
            if difference:
                lines.append(f"layer '{name}'[{index}]: {difference}")
    return lines


def _difference(ours: np.ndarray | None, theirs: np.ndarray | None) -> str:
    if ours is None or theirs is None:
        return "" if ours is theirs else f"{_shape(ours)} in the first, {_shape(theirs)} in the second"
    if ours.shape != theirs.shape:
        return f"shape {_shape(ours)} in the first, {_shape(theirs)} in the second"
    unequal = (ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))
    count = int(np.count_nonzero(unequal))
    if not count:
        return ""
    most = np.abs(ours[unequal].astype(np.float64) - theirs[unequal]).max()
    return f"{count:,} of {ours.size:,} values differ, by at most {most:.3g} (largest value {np.abs(ours).max():.3g})"


def _shape(array: np.ndarray | None) -> str:
    return "owned by another layer" if array is None else shape_text(array.shape)


def _diff_fields(where: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    return [
        f"{where}: {path}: {ours.get(path, 'not given')} -> {theirs.get(path, 'not given')}"
        for path in dict.fromkeys([*ours, *theirs])
        if ours.get(path) != theirs.get(path)
    ]


def flat(message: Message, prefix: str = "", skip: Sequence[str] = ("blobs",)) -> dict[str, str]:
    """{"convolution_param.kernel_size": "3", ...} of what a message says beyond its schema's defaults."""
    fields: dict[str, str] = {}
    for field, value in message.ListFields():
        path = prefix + field.name
        if field.name in skip or (field.has_default_value and value == field.default_value):
            continue
        if not field.message_type:
            fields[path] = _text(field, value)
        elif is_repeated(field):
            for index, item in enumerate(value):
                fields.update(flat(item, f"{path}[{index}]."))
        else:
            fields.update(flat(value, f"{path}."))
    return fields


def _text(field, value) -> str:
    def one(item) -> str:
        if field.enum_type:
            return field.enum_type.values_by_number[item].name
        return f"{item:.9g}" if isinstance(item, float) else repr(item)

    return ", ".join(map(one, value)) if is_repeated(field) else one(value)


def _by_name(layers: Sequence[LayerParameter]) -> dict[str, LayerParameter]:
    """Train and test data layers often share a name: later ones are told apart by a number."""
    named: dict[str, LayerParameter] = {}
    for layer in layers:
        name, count = layer.name, 1
        while name in named:
            count += 1
            name = f"{layer.name} #{count}"
        named[name] = layer
    return named
