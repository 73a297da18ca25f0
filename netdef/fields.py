"""Setting the fields of messages from Python values: dicts for messages, lists for repeated fields."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

from demitasse.layers.layer import Layer, layer_class
from demitasse.proto.errors import SchemaFault, did_you_mean
from demitasse.proto.messages import LayerParameter, is_repeated
from demitasse.proto.value_hints import remedy


def own_fields(cls: type[Layer]) -> list[str]:
    """The LayerParameter fields that hold the messages a layer type reads: ["softmax_param", "loss_param"]."""
    named = _fields_by_message().get(f"{cls.type}Parameter", [])
    told_apart = [name for name in named if name in cls.fields]  # two fields have a message of this type
    return list(dict.fromkeys((*(told_apart or named), *cls.fields)))


@functools.cache
def _fields_by_message() -> dict[str, list[str]]:
    """{message: the fields of LayerParameter that hold one}."""
    fields: dict[str, list[str]] = {}
    for field in LayerParameter.DESCRIPTOR.fields:
        if field.message_type:
            fields.setdefault(field.message_type.name, []).append(field.name)
    return fields


def unread_fields(layer: LayerParameter, cls: type[Layer]) -> list[str]:
    """The messages for other types that the layer has."""
    return [
        field.name
        for field, _ in layer.ListFields()
        if field.name.endswith("_param") and field.name not in own_fields(cls)
    ]


def home_of(layer: LayerParameter, name: str) -> Message:
    """The message that a field of a layer, given by its short name, belongs to: the type's own, or the layer itself.

    Names that end in `param` are the layer's.  SchemaFault where neither has it.
    """
    homes = [getattr(layer, own) for own in own_fields(layer_class(layer.type))] if not name.endswith("param") else []
    for home in (*homes, layer):
        if name in home.DESCRIPTOR.fields_by_name:
            return home
    known = {field for home in (*homes, layer) for field in home.DESCRIPTOR.fields_by_name}
    raise SchemaFault(f"{layer.type} has no field '{name}'{did_you_mean(name, known | {'ntop', 'in_place'})}")


def assign(message: Message, name: str, value: Any) -> None:
    """Set one field; a single value does for a repeated field.  SchemaFault where it does not fit."""
    field: Any = message.DESCRIPTOR.fields_by_name.get(name)  # its stub has a type for each implementation
    if field is None:
        raise SchemaFault(
            f"{message.DESCRIPTOR.name} has no field '{name}'{did_you_mean(name, message.DESCRIPTOR.fields_by_name)}"
        )
    if _is_list(value) and not is_repeated(field):
        raise SchemaFault(f"{name} of {message.DESCRIPTOR.name} takes one value, not a list")
    for item in value if _is_list(value) else [value]:
        if not field.message_type:
            _set(message, field, _plain(field, item))
        elif is_repeated(field):
            _fill(getattr(message, name).add(), field, item)
        else:
            getattr(message, name).SetInParent()
            _fill(getattr(message, name), field, item)


def _fill(target, field, value) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            assign(target, name, inner)
    elif isinstance(value, type(target)):
        target.CopyFrom(value)
    else:
        known = target.DESCRIPTOR.fields_by_name
        first = next((name for name in ("type", "phase", "dim", "name") if name in known), next(iter(known), ""))
        raise SchemaFault(f"{field.name} is a message: give a dict, such as dict({first}=...), not {value!r}")


def _plain(field, value):
    """NumPy numbers as Python's, names of enum values as their numbers."""
    if isinstance(value, numbers.Number) and hasattr(value, "item"):
        return value.item()
    if field.enum_type and isinstance(value, str):
        known = field.enum_type.values_by_name
        if value not in known:
            raise SchemaFault(f"{field.name} is one of {', '.join(known)}, not '{value}'{did_you_mean(value, known)}")
        return known[value].number
    return value


def _set(message, field, value) -> None:
    try:
        if is_repeated(field):
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    except (TypeError, ValueError):
        meant = "leave it out" if value is None else _as_python(field, remedy(field, repr(value)))
        meant = "" if meant.endswith(f"={value!r}") else meant
        what = f"{field.name} of {message.DESCRIPTOR.name} cannot be {value!r}"
        raise SchemaFault(f"{what}: {meant}" if meant else what) from None


def _as_python(field, meant: str) -> str:
    """What to write in a prototxt, as Python has it."""
    said, colon, value = meant.partition(f"{field.name}: ")
    return f"{said}{field.name}={value.title() if value in ('true', 'false') else value}" if colon else meant


def _is_list(value) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
