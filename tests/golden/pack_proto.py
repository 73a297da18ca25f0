"""Packs a listing of Caffe's schema (`[message X]`, `opt:float name #1 default = 0`, ...) into proto_schema.json.

    python tests/golden/pack_proto.py ../shared/facts/caffe-and-fcn.md

{"messages": {name: {field: [label, type, number, options]}}, "enums": {name: {value: number}}}
"""

import json
import re
import sys
from pathlib import Path

HEADING = re.compile(r"\[(message|enum) ([\w.]+)\]")
FIELD = re.compile(r"(opt|rep|req):(\w+) (\w+) #(\d+)\s*(.*)")
VALUE = re.compile(r"(\w+) = (\d+)$")


def pack(text: str) -> dict:
    listing = text[text.index("[message BlobShape]") :]
    packed: dict = {"messages": {}, "enums": {}}
    for line in map(str.strip, listing[: listing.index("```")].splitlines()):
        if heading := HEADING.match(line):
            current = packed[heading[1] + "s"].setdefault(heading[2], {})
        elif field := FIELD.match(line):
            label, kind, name, number, options = field.groups()
            current[name] = [label, kind, int(number), options.strip()]
        elif value := VALUE.match(line):
            current[value[1]] = int(value[2])
    return packed


if __name__ == "__main__":
    packed = pack(Path(sys.argv[1]).read_text(encoding="utf-8"))
    groups = [
        f'"{group}": {{\n'
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(content)}" for name, content in packed[group].items())
        + "\n}"
        for group in packed
    ]
    (Path(__file__).resolve().parent / "proto_schema.json").write_text("{\n" + ",\n".join(groups) + "\n}\n")
    print(len(packed["messages"]), "messages,", len(packed["enums"]), "enums")
