"""caffe.proto as protobuf takes it: a descriptor, made by a parser of the part of the proto2 language that it uses.

That takes as long as all else that is done with messages before a net is read; so the descriptor is kept beside the
file, behind a digest of its text.  After a change of the text it is made in each process, until it is kept anew by

    python -m demitasse.proto.schema
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from google.protobuf import descriptor_pb2

SCHEMA = Path(__file__).with_name("caffe.proto")
KEPT = Path(__file__).with_name("caffe.descriptor")
DIGEST = hashlib.sha256().digest_size

_Field = descriptor_pb2.FieldDescriptorProto
_LABELS = {"optional": _Field.LABEL_OPTIONAL, "required": _Field.LABEL_REQUIRED, "repeated": _Field.LABEL_REPEATED}
_SCALARS = {
    name: getattr(_Field, "TYPE_" + name.upper())
    for name in "double float int32 int64 uint32 uint64 bool string bytes".split()
}
_TOKEN = re.compile(r'//[^\n]*|("[^"\n]*"|[\w.+-]+|[{}\[\]=;,])|(\S)')


def _tokens(text: str) -> list[str]:
    found, wrong = zip(*_TOKEN.findall(text), strict=True)
    if any(wrong):
        at = next(match.start() for match in _TOKEN.finditer(text) if match[2])
        line = text.count("\n", 0, at) + 1
        raise ValueError(f"{SCHEMA}:{line}: cannot read {text[at : at + 20]!r}")
    return list(filter(None, found))


class _SchemaParser:
    """Fills a FileDescriptorProto from the text of a .proto file."""

    def __init__(self, text: str):
        self.tokens = iter(_tokens(text))
        self.file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", syntax="proto2")
        self.named_fields: list[tuple[str, descriptor_pb2.FieldDescriptorProto]] = []  # (scope, field)
        self.enums: set[str] = set()
        self.messages: set[str] = set()

    def parse(self) -> descriptor_pb2.FileDescriptorProto:
        for word in self.tokens:
            if word == "syntax":
                self.expect("=", '"proto2"', ";")
            elif word == "package":
                self.file.package = next(self.tokens)
                self.expect(";")
            elif word == "message":
                self.message(self.file.message_type.add(), "." + self.file.package)
            elif word == "enum":
                self.enum(self.file.enum_type.add(), "." + self.file.package)
            else:
                raise ValueError(f"{SCHEMA}: unexpected {word!r}")
        for scope, field in self.named_fields:
            self.resolve(scope, field)
        return self.file

    def expect(self, *words: str) -> None:
        for word in words:
            if (found := next(self.tokens)) != word:
                raise ValueError(f"{SCHEMA}: {word!r} expected, not {found!r}")

    def message(self, message, scope: str) -> None:
        message.name = next(self.tokens)
        scope = f"{scope}.{message.name}"
        self.messages.add(scope)
        self.expect("{")
        while (word := next(self.tokens)) != "}":
            if word == "enum":
                self.enum(message.enum_type.add(), scope)
            elif word in _LABELS:
                self.field(message.field.add(), _LABELS[word], scope)
            else:
                raise ValueError(f"{SCHEMA}: message {message.name}: unexpected {word!r}")

    def field(self, field, label: int, scope: str) -> None:
        field.label = label
        type_name, field.name = next(self.tokens), next(self.tokens)
        if type_name in _SCALARS:
            field.type = _SCALARS[type_name]
        else:
            field.type_name = type_name
            self.named_fields.append((scope, field))
        self.expect("=")
        field.number = int(next(self.tokens))
        while (word := next(self.tokens)) != ";":
            if word in ("[", ",", "]"):
                continue
            self.expect("=")
            value = next(self.tokens)
            if word == "default":
                field.default_value = value.strip('"')
            elif word == "packed":
                field.options.packed = value == "true"
            else:
                raise ValueError(f"{SCHEMA}: field {field.name}: unknown option {word!r}")

    def enum(self, enum, scope: str) -> None:
        enum.name = next(self.tokens)
        self.enums.add(f"{scope}.{enum.name}")
        self.expect("{")
        while (word := next(self.tokens)) != "}":
            self.expect("=")
            enum.value.add(name=word, number=int(next(self.tokens)))
            self.expect(";")

    def resolve(self, scope: str, field) -> None:
        """The full name of a field's message or enum: looked up in its own message first, then in the file."""
        for outer in (scope, "." + self.file.package):
            name = f"{outer}.{field.type_name}"
            if name in self.enums or name in self.messages:
                field.type = _Field.TYPE_ENUM if name in self.enums else _Field.TYPE_MESSAGE
                field.type_name = name
                return
        raise ValueError(f"{SCHEMA}: {scope[1:]}.{field.name}: unknown type {field.type_name!r}")


def descriptor() -> bytes:
    """The FileDescriptorProto of caffe.proto, serialized.  ValueError where it cannot be read."""
    text, kept = SCHEMA.read_bytes(), KEPT.read_bytes() if KEPT.is_file() else b""
    if kept[:DIGEST] == hashlib.sha256(text).digest():
        return kept[DIGEST:]
    return _SchemaParser(text.decode()).parse().SerializeToString(deterministic=True)


def keep() -> None:
    """Write the descriptor of caffe.proto as it is now."""
    KEPT.unlink(missing_ok=True)
    KEPT.write_bytes(hashlib.sha256(SCHEMA.read_bytes()).digest() + descriptor())


if __name__ == "__main__":
    keep()
