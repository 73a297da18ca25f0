"""The layers of a text that cannot be parsed: their names and types, for a message about it.

`require_type` is put here by the package of the layers: it raises SchemaFault for a type that is not known, and
says which others are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from demitasse.proto.errors import NetError, SchemaFault, SyntaxFault, Where
from demitasse.proto.tokens import SourceText, Token, unquote
from demitasse.proto.upgrade import todays_type

require_type: Callable[[str, Sequence[str]], object] | None = None


class Outline(NamedTuple):
    """What is known of a layer."""

    where: Where
    said: dict[str, str]  # "name" and "type", as far as they are given

    @property
    def label(self) -> str:
        """How messages speak of the layer: 'conv1' (Convolution)."""
        kind = self.said.get("type")
        return f"'{self.said.get('name', '')}'" + (f" ({kind})" if kind else "")


def outlines_of(source: SourceText) -> list[Outline]:
    """The layers of a net's text, as far as its words can be told apart."""
    layers: list[Outline] = []
    before: list[Token] = []  # the last two words
    v1, depth = False, 0
    try:
        for token in source.tokens():
            if token.text in ("{", "<"):
                name = next((word for word in reversed(before) if word.text != ":"), token)
                if not depth and name.text in ("layer", "layers"):
                    v1 = name.text == "layers"
                    layers.append(Outline(source.where(name.offset), {}))
                depth += 1
            elif token.text in ("}", ">"):
                depth -= 1
            elif depth == 1 and layers and token.kind == "string" and before[0].text in ("name", "type"):
                layers[-1].said.setdefault(before[0].text, unquote(token, source).decode("utf-8", "replace"))
            elif depth == 1 and v1 and token.kind == "name" and before[0].text == "type":
                layers[-1].said.setdefault("type", todays_type(token.text))
            before = [*before[-1:], token]
    except SyntaxFault:
        pass
    return layers


def layer_at(where: Where, layers: list[Outline]) -> Outline | None:
    """The layer at a location."""
    location = where.line, where.column
    return next((one for one in reversed(layers) if (one.where.line, one.where.column) <= location and one.said), None)


def unknown_type_at(where: Where, layers: list[Outline]) -> SchemaFault | None:
    """The fault of the layer at a location, if that is of a type that is not known."""
    layer = layer_at(where, layers)
    if layer and require_type and "type" in layer.said:
        try:
            require_type(layer.said["type"], [other.said.get("type", "") for other in layers])
        except SchemaFault as unknown:
            unknown.where, unknown.layer = layer.where, layer.label
            return unknown
    return None


def explain(fault: SchemaFault, source: SourceText) -> NetError:
    """The fault of a field as one of its layer; where the type of that is not known, that is what is wrong."""
    if fault.where is None:
        return fault
    layers = outlines_of(source)
    if layer := layer_at(fault.where, layers):
        fault.layer = fault.layer or layer.label
    return unknown_type_at(fault.where, layers) or fault
