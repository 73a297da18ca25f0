"""Builds the documentation: the guides and the API reference, with one search over both.

    python docs/make_site.py site              (make docs)

The reference is made from docstrings by pdoc.  A guide, docs/NAME.md, is given to pdoc as the docstring of a module
guides.NAME, so that its page looks and is found like all others.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pdoc

ROOT = Path(__file__).resolve().parents[1]
GUIDES = {"readme": ROOT / "README.md", "contributing": ROOT / "CONTRIBUTING.md", "changes": ROOT / "CHANGELOG.md"}
GUIDES |= {path.stem.replace("-", "_"): path for path in sorted((ROOT / "docs").glob("*.md"))}
GUIDES |= {"tutorial": ROOT / "docs/tutorial.ipynb"}
API = ["demitasse.proto", "demitasse.layers", "demitasse.netdef", "demitasse.solver", "demitasse.models", "caffe"]
# They import a device's library, or are commands.
LEFT_OUT = ["!demitasse.layers.backend.gpu", "!demitasse.layers.backend.cpu.threads", r"!.*\.__main__"]
PACKAGES = ("proto", "layers", "netdef", "solver", "models")


def text_of(path: Path) -> str:
    """A guide's Markdown; of a notebook its cells', code between fences."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [("".join(cell["source"]), cell["cell_type"]) for cell in json.loads(text)["cells"]]
    return "\n\n".join(words if kind == "markdown" else f"```python\n{words}\n```" for words, kind in cells)


def linked(text: str, path: Path) -> str:
    """A guide's text with its links to guides and to source files turned into links to pages."""
    pages = {guide: name for name, guide in GUIDES.items()}

    def page(match: re.Match) -> str:
        target, _, part = match[1].partition("#")
        file = (path.parent / target).resolve()
        part = f"#{part}" * bool(part)
        if file in pages:
            return f"]({pages[file]}.html{part})"
        inside = file.relative_to(ROOT) if file.is_relative_to(ROOT) else Path()
        if inside.parts and inside.parts[0] in PACKAGES and file.suffix == ".py":
            return f"](../demitasse/{inside.with_suffix('.html').as_posix()})"
        return f"](../{inside.as_posix()})" if inside.parts and file.suffix == ".png" else match[0]

    return re.sub(r"\]\((?!https?:|#)([^)\s]+)\)", page, text)


def write_guides(folder: Path) -> None:
    """A package `guides` in the folder, whose modules' docstrings are the guides."""
    package = folder / "guides"
    package.mkdir()
    titles = {name: text_of(path).partition("\n")[0].lstrip("# ") for name, path in GUIDES.items()}
    contents = "\n".join(f"- [{title}](guides/{name}.html)" for name, title in titles.items())
    index = f"# Guides\n\n{contents}\n"
    (package / "__init__.py").write_text(f"{index!r}\n", encoding="utf-8")
    for name, path in GUIDES.items():
        (package / f"{name}.py").write_text(f"{linked(text_of(path), path)!r}\n", encoding="utf-8")


def build(out: Path, modules: list[str]) -> None:
    """Write the site of the guides and of these modules (with what is below them) to a folder."""
    with tempfile.TemporaryDirectory() as folder:
        write_guides(Path(folder))
        sys.path[:0] = [folder, str(ROOT)]
        pdoc.render.configure(docformat="markdown", footer_text="Demitasse")
        pdoc.pdoc("guides", *modules, output_directory=out)
    for name in ("docs/images", "models/demo"):
        shutil.copytree(
            ROOT / name, out / name, dirs_exist_ok=True, ignore=lambda _, files: [f for f in files if f[-4:] != ".png"]
        )


if __name__ == "__main__":
    build(Path(sys.argv[1] if sys.argv[1:] else "site"), [*API, *LEFT_OUT])
