"""The pages about layers say what is so."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

from demitasse.layers.layer import Layer, layer_class, layer_types
from demitasse.netdef.fields import own_fields

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_the_table_of_layers_is_what_their_files_say():
    spec = importlib.util.spec_from_file_location("make_layers", DOCS / "make_layers.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert (DOCS / "layers.md").read_text(encoding="utf-8") == maker.page(), "run: python docs/make_layers.py"


def test_the_example_of_a_new_layer_is_a_layer_of_ours():
    text = (DOCS / "adding-a-layer.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    assert sum(len(block.splitlines()) for block in blocks) <= 60
    files = re.findall(r"^`([\w/.]+)`", text, re.MULTILINE)
    sources = [(ROOT / name).read_text(encoding="utf-8") for name in files]
    assert len(files) == 4 and all(any(block in source for source in sources) for block in blocks)
    for name, source in zip(files, sources, strict=True):
        assert name.endswith("caffe.proto") or source in blocks, f"docs/adding-a-layer.md shows another text of {name}"


@pytest.mark.parametrize("page", ["layers.md", "adding-a-layer.md", "differences.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (DOCS / page).read_text(encoding="utf-8")):
        assert (DOCS / target).exists(), target


def test_the_page_of_differences_names_types_that_there_are():
    text = (DOCS / "differences.md").read_text(encoding="utf-8")
    table = text[text.index("## Layers") :]
    named = {
        name.split(" (")[0] for cell in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in cell.split(", ")
    }
    assert named - {"Type"} <= set(layer_types())


@pytest.mark.parametrize("name", layer_types())
def test_a_layer_says_which_messages_it_reads(name):
    cls = layer_class(name)
    bases = [base for base in cls.__mro__ if base not in (Layer, object)]
    read = set(re.findall(r"spec\.(\w+_param)\b", "".join(map(inspect.getsource, bases))))
    assert read - {"loss_param"} <= set(own_fields(cls))  # that one: LossLayer reads it for those that have it
