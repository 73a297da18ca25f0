"""Writes docs/layers.md, the table of all layer types, from their docstrings: `python docs/make_layers.py`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from demitasse.layers.layer import layer_class, layer_types  # noqa: E402
from demitasse.netdef.fields import own_fields  # noqa: E402

HEAD = """# All layer types

What a layer does in full, the shapes of its bottoms and tops and its learned arrays stand at the head of its file in
`layers/`; its fields, with defaults, in `proto/caffe.proto`.  Where a type behaves otherwise than in Caffe:
[differences.md](differences.md).  A type of your own: [adding-a-layer.md](adding-a-layer.md).

`1+` means one or more, `1-2` one or two.  Types without a fork are those of Caffe (BVLC, 1.0); what differs among forks
and where their layers come from: [forks.md](forks.md).

| Type | Bottoms | Tops | What it does | Fields | Fork | Source |
|---|---|---|---|---|---|---|
"""


def count(bounds) -> str:
    least, most = bounds
    return f"{least}+" if most is None else str(least) if least == most else f"{least}-{most}"


def row(name) -> str:
    cls = layer_class(name)
    doc = sys.modules[cls.__module__].__doc__.strip()
    head = re.match(r"(?P<names>[\w, ]+?)(?: \((?P<fork>[^)]*)\))?: (?P<text>.*?)\.?(?:\.\s|$)", doc, re.DOTALL)
    assert head and name in head["names"].split(", "), f"{cls.__module__}: begin the docstring with '{name}: '"
    text = " ".join(head["text"].split()).replace("|", "\\|")
    link = f"[{name}](../layers/{cls.__module__.rpartition('.')[2]}.py)"
    named = ", ".join(f"`{field}`" for field in own_fields(cls))
    source = re.search(r"^Sources?: (.*)\Z", doc, re.DOTALL | re.MULTILINE)
    source = " ".join(source[1].split()).rstrip(".") if source else ""
    return (
        f"| {link} | {count(cls.bottoms)} | {count(cls.tops)} | {text} | {named} | {head['fork'] or ''} | {source} |\n"
    )


def page() -> str:
    return HEAD + "".join(row(name) for name in layer_types())


if __name__ == "__main__":
    (ROOT / "docs" / "layers.md").write_text(page(), encoding="utf-8")
