"""Fields that the schema does not have: which may be read over, and what to say of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from demitasse.proto import messages
from demitasse.proto.errors import SchemaFault, Where, did_you_mean
from demitasse.proto.fork_fields import idle_field, refused_field
from demitasse.proto.layer_scan import Outline, outlines_of, unknown_type_at
from demitasse.proto.messages import LayerParameter
from demitasse.proto.name_hints import other_field
from demitasse.proto.tokens import SourceText, Token, shortened
from demitasse.proto.warning import warn

REFUSED_MARK = "?"  # before the name of a field in the locations of a layer: read over, but the layer cannot be built


class UnknownFields:
    """Of one text: collects what is read over, for one warning about it."""

    def __init__(self, source: SourceText):
        self.source = source
        self.layers: list[Outline] | None = None
        self.idle: dict[str, list[str]] = {}  # "default_forward_type (NVIDIA: the precision ...)" -> lines

    def passes(self, message: str, name: Token, in_layer: bool) -> bool:
        """Whether the field may be read over: it changes no number, or it is one of a layer whose type is unknown.

        A net with such a layer is refused when it is built, unless inputs or another phase take its place.
        """
        where = self.source.where(name.offset)
        if idle := idle_field(message, name.text):
            said = idle.says(name.text)
        elif in_layer and (unknown := self._unknown_type_at(where)):
            said = f"{name.text} (of {unknown.layer}, whose type is not known)"
        else:
            return False
        self.idle.setdefault(said, []).append(str(where.line))
        return True

    def _unknown_type_at(self, where):
        if self.layers is None:
            self.layers = outlines_of(self.source)
        return unknown_type_at(where, self.layers)

    def warn(self) -> None:
        """One warning about all that was read over."""
        if self.idle:
            fields = "; ".join(f"{said} in line {_few(lines)}" for said, lines in self.idle.items())
            file = self.source.file and f"{self.source.file}: "
            warn(f"{file}without effect here: {fields}")


def require_none_refused(layer: LayerParameter, where: Where) -> None:
    """SchemaFault where a layer is to be built that has one of the fields that `refused` marks."""
    for path, location in where.fields.items():
        parent, mark, name = path.rpartition(REFUSED_MARK)
        if not mark:
            continue
        message = layer
        for step in parent.split(".")[:-1]:
            if step not in message.DESCRIPTOR.fields_by_name or not message.HasField(step):
                break  # inputs have taken the place of the layer
            message = getattr(message, step)
        else:
            if found := refused_field(message.DESCRIPTOR.name, name):
                raise SchemaFault(f"{message.DESCRIPTOR.name} has no field {found.says(name)}", location)


def _few(lines: list[str]) -> str:
    return lines[0] + (f" and {len(lines) - 1} more" if len(lines) > 1 else "")


def describe(stack: Sequence[Any], closed: tuple[Any, Token] | None, name: str, line_of: Callable[[Token], int]) -> str:
    """What to say of a field that the innermost open message does not have: where it belongs, or what may be meant.

    stack: the open messages; closed: the one closed last with its brace, or None; line_of: a token's line.
    """
    inner, name = stack[-1], shortened(name)
    kind = inner.message.DESCRIPTOR
    what = f"{kind.name} has no field '{name}'"
    homes: dict[str, str] = {}  # one for each kind of message: forks have other names for some
    for field in kind.fields:
        if field.message_type and name in field.message_type.fields_by_name and field.number < 2000:
            homes.setdefault(field.message_type.name, field.name + " { }")
    if found := refused_field(kind.name, name):
        return f"{kind.name} has no field {found.says(name)}"
    if hint := other_field(name, inner.fields):
        return f"{what}: {hint}"
    if closed and name in closed[0].fields and closed[0].path.rpartition(".")[0] == inner.path:
        return (
            f"{what}: is the '{closed[1].text}' of line {line_of(closed[1])} one too many? It closes {closed[0].name}"
        )
    if inner.brace and any(name in outer.fields for outer in stack[:-1]):
        return f"{what}: is the '{inner.brace.text}' of {inner.name} (line {line_of(inner.brace)}) not closed?"
    if kind.name == "NetParameter" and name in messages.SolverParameter.DESCRIPTOR.fields_by_name:
        return f"{what}, a solver has: is this the solver's file instead of the net's?"
    if kind.name == "SolverParameter" and name in messages.NetParameter.DESCRIPTOR.fields_by_name:
        return f"{what}, a net has: is this the net's file instead of the solver's?"
    if 0 < len(homes) <= 6:
        return f"{what}: it belongs in {' or '.join(homes.values())}"
    return what + did_you_mean(name, inner.fields)
