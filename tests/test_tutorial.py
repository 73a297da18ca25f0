"""docs/tutorial.ipynb runs as it stands, from a folder of images to a service on this machine."""

import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs/tutorial.ipynb"


def test_the_tutorial(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("TUTORIAL_ITERATIONS", "4")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not [cell for cell in notebook.cells if cell.get("outputs")], "it is kept without what it prints"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    for words in (
        "no faults",
        "upscore8",
        "base_lr",
        "mean IU: best",
        "of the pixels of",
        "bytes from http://127.0.0.1:",
    ):
        assert words in said, words
    (page,) = tmp_path.rglob("compare.html")
    text = page.read_text()
    assert "Images that the runs differ most in" in text and "<th class=name>base_lr</th>" in text
    shown = re.findall(r"<figcaption>scene\d+\.jpg: mean IU of a 0\.\d+, b 0\.\d+</figcaption>", text)
    assert len(shown) == 8, "the four images of val.txt, and in the order of what sets them apart"
    assert text.count("<img ") == 8 * 6, "image, truth, and of each run the prediction alone and over the image"
