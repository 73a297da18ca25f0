"""docs/sources.md tells where everything is that the project names: papers, data sets' pages, weights."""

import re
from pathlib import Path

import pytest

from demitasse.models.base_weights import BASES, make_base
from demitasse.proto.errors import WeightsFault
from demitasse.proto.weights import read_weights

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (ROOT / "docs/sources.md").read_text(encoding="utf-8")
PARTS = ("caffe", "demitasse", "docs", "examples", "layers", "models", "netdef", "proto", "solver")
PAPER = re.compile(r'"([A-Z][^"]{9,150})",? \(?[A-Z][^()"]{2,60}?(?:19|20)\d\d')
OURS = ("http://127.0.0.1", "http://{", "http://www.w3.org")


@pytest.fixture(scope="module")
def texts():
    """{file: its text on one line, without marks of comments} of all that people read."""
    files = [file for part in PARTS for kind in ("py", "md") for file in (ROOT / part).rglob(f"*.{kind}")]
    files += [ROOT / "README.md"]
    return {
        str(file.relative_to(ROOT)): re.sub(r"\s*\n\s*(# )?\s*", " ", file.read_text(encoding="utf-8"))
        for file in files
        if file.name != "sources.md"
    }


def test_every_paper_is_listed(texts):
    known, found = SOURCES.lower(), set()
    for file, text in texts.items():
        for title in PAPER.findall(text):
            found.add(title)
            assert title.rstrip(",").lower() in known, f"{file}: list {title!r} in docs/sources.md, Papers"
    assert len(found) > 20


def test_every_address_is_listed(texts):
    for file, text in texts.items():
        for address in re.findall(r"https?://[^\s)>\"'`]+", text):
            if not address.startswith(OURS) and "git-lfs" not in address:
                assert address.rstrip("/.,;") in SOURCES, f"{file}: {address}"


def test_every_classifier_is_listed():
    for name in BASES:
        assert f"`prepare {name}`" in SOURCES


@pytest.mark.parametrize("name", ["VGG_ILSVRC_16_layers.caffemodel", "fcn8s-heavy-pascal.caffemodel", "my.caffemodel"])
def test_missing_weights_that_are_published_are_said_to_be_there(tmp_path, name):
    with pytest.raises(WeightsFault) as fault:
        read_weights(tmp_path / name)
    assert ("docs/sources.md says where published weights are" in str(fault.value)) == (name != "my.caffemodel")


def test_a_missing_classifier_is_said_to_be_there():
    with pytest.raises(WeightsFault, match=r"gone.caffemodel: no such file: docs/sources.md .* those of VGG16 are"):
        make_base("vgg16-fcn", "gone.caffemodel")
