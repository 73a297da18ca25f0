"""Prototxt to messages and back; every layer and every fault with its file, line and column.

message, marks = parse(text, NetParameter, "train.prototxt")
marks["layer[3].convolution_param.kernel_size"]     -> Where of the field's first value
marks["layer[3].bottom[1]"]                         -> Where of a value of a repeated field
net, wheres = read_net("train.prototxt")            parsed, and upgraded to today's form
print(format(net))
"""

from __future__ import annotations

import os
import re
from typing import TypeVar

from google.protobuf.message import Message

from demitasse.proto import upgrade
from demitasse.proto.errors import NetError, SchemaFault, SyntaxFault, Where
from demitasse.proto.fork_fields import SEVERAL, refused_field
from demitasse.proto.layer_scan import explain
from demitasse.proto.messages import FieldDescriptor, NetParameter, SolverParameter, is_repeated, required_fields
from demitasse.proto.printing import format
from demitasse.proto.text_files import text_of
from demitasse.proto.tokens import SourceText, Token, shortened
from demitasse.proto.unknown_fields import REFUSED_MARK, UnknownFields, describe
from demitasse.proto.value_hints import as_meant
from demitasse.proto.values import scalar

__all__ = ["format", "parse", "read_net", "read_solver", "text_of"]

T = TypeVar("T", bound=Message)
MARKED = 10000  # values of one field whose locations are kept

_HINTS = {
    "/": ": a comment begins with #",
    "<": ": is it the mark of an unsettled git merge?",
    "{": ": a message has its name before the brace, as in layer { } (JSON is not prototxt)",
}
_CLOSER = {"{": "}", "<": ">"}


def parse(text: str, message_class: type[T], file: str = "") -> tuple[T, dict[str, Where]]:
    """(message, marks): the message that the text describes, and the Where of every field by its path.

    Raises SyntaxFault where the text is not a prototxt, SchemaFault where it does not fit the schema.
    """
    parser = _Parser(SourceText(text, file))
    try:
        message = parser.parse(message_class())
    except NetError as found:
        parser.look_for_a_quote(found)
        fault = as_meant(found, parser.value_at, parser.source)
        if isinstance(fault, SchemaFault) and fault.where and parser.in_a_layer(("LayerParameter",)):
            raise explain(fault, parser.source) from None
        raise fault from None
    except MemoryError:
        raise SyntaxFault(f"not enough memory for {len(text) / 1e6:.0f} MB of text", Where(file)) from None
    parser.unknown.warn()
    return message, parser.marks


_END = Token("end", "", 0)


class _Open:
    """A message whose closing brace has not come yet; the outermost has none."""

    def __init__(self, message, name: str, path: str = "", brace: Token | None = None, in_list: bool = False):
        self.message, self.name, self.path, self.brace, self.in_list = message, name, path, brace, in_list
        self.fields = message.DESCRIPTOR.fields_by_name

    def path_of(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


class _Parser:
    """Walks the tokens with a stack of its own, so that no nesting is too deep."""

    def __init__(self, source: SourceText):
        self.source = source
        self.tokens = source.tokens()
        self.ahead = next(self.tokens)
        self.marks: dict[str, Where] = {}
        self.stack: list[_Open] = []
        self.value_at: tuple[FieldDescriptor, int] | None = None  # the scalar read last: its field and its offset
        self.closed: tuple[_Open, Token] | None = None  # the message closed last, and its brace
        self.unknown = UnknownFields(source)

    def parse(self, message: T) -> T:
        stack = self.stack
        stack.append(_Open(message, message.DESCRIPTOR.name))
        while True:
            inner, token = stack[-1], self.next()
            if token.kind == "name":
                if child := self.field(inner, token):
                    stack.append(child)
            elif token.kind == "end" and not inner.brace:
                self.check_required(inner)
                return message
            elif inner.brace and token.text == _CLOSER[inner.brace.text]:
                self.check_required(inner)
                self.closed = stack.pop(), token
                if inner.in_list and self.more_in_list():
                    stack.append(self.open_message(stack[-1], inner.name, self.ahead, in_list=True))
                else:
                    self.take(",;")
            else:
                self.unexpected(inner, token)

    def in_a_layer(self, forms: tuple[str, ...] = ("LayerParameter", "V1LayerParameter")) -> bool:
        return len(self.stack) > 1 and self.stack[1].message.DESCRIPTOR.name in forms

    def look_for_a_quote(self, fault: NetError) -> None:
        """SyntaxFault where a quote is missing: words and strings are exchanged up to the end of the line."""
        for _ in range(100):
            if self.ahead.kind == "end" or not fault.where or self.where(self.ahead).line != fault.where.line:
                break
            try:
                self.ahead = next(self.tokens, _END)
            except SyntaxFault as other:
                if other.what.startswith("the string that begins here"):
                    raise
                break  # one fault is enough

    def next(self) -> Token:
        token = self.ahead
        if token.kind != "end":
            self.ahead = next(self.tokens)
        return token

    def take(self, symbols: str) -> bool:
        """Pass over the next token if it is one of these symbols."""
        found = self.ahead.kind == "symbol" and self.ahead.text in symbols
        if found:
            self.next()
        return found

    def where(self, token: Token) -> Where:
        return self.source.where(token.offset)

    def unexpected(self, inner: _Open, token: Token):
        opened = inner.brace and f"the '{inner.brace.text}' of {inner.name} (line {self.where(inner.brace).line})"
        if token.kind == "end" and inner.brace:
            raise SyntaxFault(f"the file ends, but {opened} is not closed", self.where(inner.brace))
        if token.text in ("}", ">"):
            what = f"'{token.text}' cannot close {opened}" if opened else f"there is one '{token.text}' too many"
            raise SyntaxFault(what, self.where(token))
        hint = _HINTS.get(token.text, "") if token.text in "/{" or not opened else ""
        raise SyntaxFault(f"a field of {inner.name} expected, not {token.shown}{hint}", self.where(token))

    def field(self, inner: _Open, name: Token) -> _Open | None:
        """Read one field; a message in it is returned opened."""
        field, path = inner.fields.get(name.text), inner.path_of(name.text)
        if field is None:
            what = describe(self.stack, self.closed, name.text, lambda token: self.where(token).line)
            if self.in_a_layer() and refused_field(inner.message.DESCRIPTOR.name, name.text):
                self.marks[inner.path_of(REFUSED_MARK + name.text)] = self.where(name)
            elif not self.unknown.passes(inner.message.DESCRIPTOR.name, name, self.in_a_layer()):
                raise SchemaFault(what, self.where(name))
            self.read_over(inner, name)
            return None
        if (path in self.marks or self.source.lists_after(self.ahead)) and SEVERAL.get(name.text) in inner.fields:
            return self.field(inner, name._replace(text=SEVERAL[name.text]))
        if not is_repeated(field) and path in self.marks:
            raise SyntaxFault(
                f"{name.text} is given twice, here and at line {self.marks[path].line}, but takes one value",
                self.where(name),
            )
        self.marks.setdefault(path, self.where(name))
        if self.ahead.text == ":" and not field.message_type:
            self.value_at = field, self.source.after_spaces(self.ahead.offset + 1)
        colon = self.take(":")
        if not colon and not field.message_type:
            raise SyntaxFault(f"':' expected after {name.text}, not {self.next().shown}", self.where(name))
        listed = is_repeated(field) and self.take("[")
        if listed and self.take("]"):
            pass
        elif field.message_type:
            return self.open_message(inner, name.text, name, listed)
        elif not is_repeated(field):
            setattr(inner.message, name.text, self.value(field))
            self.refuse_comma(name.text)
        else:
            self.add_values(field, getattr(inner.message, name.text), path, listed)
        self.take(",;")
        return None

    def read_over(self, inner: _Open, name: Token) -> None:
        """Pass over the value of a field that the schema does not have."""
        self.take(":")
        if self.ahead.text not in ("{", "<", "["):
            self.take("-")
            if self.ahead.kind in ("symbol", "end"):
                self.unexpected(inner, self.next())
            while self.next().kind == self.ahead.kind == "string":  # "adjacent" "strings" are one
                pass
        else:
            opened, depth = _Open(inner.message, name.text, brace=self.ahead), 0
            while True:
                token = self.next()
                if token.kind == "end":
                    self.unexpected(opened, token)
                if token.kind == "symbol":
                    depth += (token.text in "{<[") - (token.text in "}>]")
                if not depth:
                    break
        self.take(",;")

    def open_message(self, inner: _Open, name: str, location: Token, in_list: bool) -> _Open:
        brace = self.next()
        if brace.kind != "symbol" or brace.text not in _CLOSER:
            fields = inner.fields[name].message_type.fields_by_name
            first = next((word for word in ("phase", "type", "dim", "name") if word in fields), "")
            hint = f": write {name} {{ {first}: {shortened(brace.text)} }}" if first and brace.kind != "symbol" else ""
            raise SyntaxFault(f"'{{' expected after {name}, not {brace.shown}{hint}", self.where(brace))
        value, path = getattr(inner.message, name), inner.path_of(name)
        if is_repeated(inner.fields[name]):
            path = f"{path}[{len(value)}]"
            self.marks[path] = self.where(location)
            value = value.add()
        else:
            value.SetInParent()
        return _Open(value, name, path, brace, in_list)

    def add_values(self, field, values, path: str, listed: bool) -> None:
        while True:
            if len(values) < MARKED:
                self.marks[f"{path}[{len(values)}]"] = self.where(self.ahead)
            values.append(self.value(field))
            if not listed or not self.more_in_list():
                return

    def more_in_list(self) -> bool:
        if self.take(","):
            return True
        if self.take("]"):
            return False
        token = self.next()
        raise SyntaxFault(f"',' or ']' expected in a list, not {token.shown}", self.where(token))

    def value(self, field):
        """The Python value of the scalar that comes next."""
        self.value_at = field, self.ahead.offset
        minus = "-" if self.take("-") else ""
        tokens = [self.next()]
        while tokens[-1].kind == "string" and self.ahead.kind == "string":  # "adjacent" "strings" are one
            tokens.append(self.next())
        if tokens[0].kind in ("symbol", "end"):
            raise SyntaxFault(f"{field.name} has no value before {tokens[0].shown}", self.where(tokens[0]))
        return scalar(field, minus, tokens, self.source)

    def refuse_comma(self, name: str) -> None:
        """0,001 is two numbers to the grammar, and the second one stands where a field should."""
        at, text = self.ahead.offset, self.source.text
        if self.ahead.text == "," and text[at - 1 : at].isdigit() and text[at + 1 : at + 2].isdigit():
            number = re.findall(r"[0-9]+$", text[:at])[0]
            digits = re.findall(r"^[0-9]+", text[at + 1 :])[0]
            raise SyntaxFault(
                f"{name}: {number},{digits} has a comma where a decimal point belongs: write {number}.{digits}",
                self.where(self.ahead),
            )

    def check_required(self, closed: _Open) -> None:
        for name in required_fields(closed.message.DESCRIPTOR):
            if not closed.message.HasField(name):
                raise SchemaFault(f"{closed.name} has no {name}, which it needs", self.marks.get(closed.path))


def read_net(source: str | os.PathLike | NetParameter, file: str = "") -> tuple[NetParameter, list[Where]]:
    """(NetParameter, wheres) of a path, a text with a newline in it, or a message (which is left as it is).

    The net is upgraded to today's form; wheres[i] is the location of net.layer[i], its `fields` those of
    what is set in it ("convolution_param.kernel_size").  `file` names a text in faults.
    """
    if isinstance(source, NetParameter):
        net, marks = NetParameter(), dict[str, Where]()
        net.CopyFrom(source)
    else:
        text, file = text_of(source, file)
        net, marks = parse(text, NetParameter, file)
    return net, upgrade.upgrade_net(net, marks)


def read_solver(source: str | os.PathLike | SolverParameter, file: str = "") -> tuple[SolverParameter, Where]:
    """(SolverParameter, where) of a path, a text with a newline in it, or a message; upgraded.

    where.fields holds the location of every field.  A snapshot_prefix that is missing, or that is a
    folder, becomes what Caffe makes of it: the solver file's name without its ending.
    """
    if isinstance(source, SolverParameter):
        solver, marks = SolverParameter(), dict[str, Where]()
        solver.CopyFrom(source)
    else:
        text, file = text_of(source, file)
        solver, marks = parse(text, SolverParameter, file)
    upgrade.upgrade_solver(solver, marks)
    if file:
        upgrade.complete_snapshot_prefix(solver, file)
    return solver, Where(file, 1 if file else 0, 1, marks)
