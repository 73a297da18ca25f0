"""The documentation: its links lead somewhere, and `make docs` builds pages from it."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / "docs").glob("*.ipynb"), *sorted(ROOT.glob("*.md"))]


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_links_lead_somewhere(guide):
    text = guide.read_text(encoding="utf-8").replace("\\n", "\n")
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        target, _, part = link.partition("#")
        file = (guide.parent / target).resolve() if target else guide
        assert file.exists(), f"{guide.name}: {link}"
        if part:
            assert part in anchors(file.read_text(encoding="utf-8")), f"{guide.name}: {link}"


def test_the_site(tmp_path, monkeypatch):
    pytest.importorskip("pdoc")
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("make_site", ROOT / "docs/make_site.py")
    make_site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_site)
    make_site.build(tmp_path, ["demitasse.proto.errors"])
    for name in [name for name in sys.modules if name.split(".")[0] == "guides"]:
        monkeypatch.delitem(sys.modules, name)
    assert "class SchemaFault" in re.sub("<[^>]*>", "", (tmp_path / "demitasse/proto/errors.html").read_text())
    page = (tmp_path / "guides/architecture.html").read_text()
    assert 'href="fcn.html#own-images-in-three-commands"' in page and "The life of a net" in page
    assert '"../demitasse/layers/python.html"' in (tmp_path / "guides/adding_a_layer.html").read_text()
    assert (tmp_path / "docs/images/enet_munich.png").is_file()
    tutorial = (tmp_path / "guides/tutorial.html").read_text()
    assert "From a folder of images to a service" in tutorial and 'href="training.html"' in tutorial
    assert "Segmenter" in re.sub("<[^>]*>", "", tutorial) and '"cell_type"' not in tutorial
