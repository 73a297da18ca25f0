"""The commands in the guides are ones that the programs understand."""

import re
import shlex
from pathlib import Path

import pytest

from demitasse.__main__ import COMMANDS
from demitasse.completion import parser_of

DOCS = Path(__file__).resolve().parents[1] / "docs"
DOORS = {f"python -m {package} {own}": name for name, (package, own, _) in COMMANDS.items()}


def commands(text):
    """The words behind `demitasse` of every command line in a guide, whichever door it goes through."""
    for line in re.findall(
        r"^    ((?:demitasse|python -m (?:solver|netdef|models)) (?:.*\\\n)*.*)$", text, re.MULTILINE
    ):
        line = re.sub(r"\\\n *", "", line)
        line = re.sub(r"  +.*", "", line.strip())  # what is behind two spaces is an explanation
        words = shlex.split(line, comments=True)
        if words[0] == "demitasse":
            yield words[1:]
        elif words[3:]:
            yield [DOORS[" ".join(words[:4])], *words[4:]]


@pytest.mark.parametrize("guide", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_the_commands_parse(guide):
    parser = parser_of("demitasse", COMMANDS)
    for words in commands(guide.read_text(encoding="utf-8")):
        if not any(mark in words for mark in ("...", "NAME", "TASK")):  # a form to be filled in
            options, unknown = parser.parse_known_args(words)
            assert options.command == words[0] and not unknown, words


def test_six_commands_lead_from_images_to_compared_runs():
    text = (DOCS / "training.md").read_text(encoding="utf-8")
    section = text.partition("## Six commands")[2].partition("\n## ")[0]
    assert [words[0] for words in commands(section)] == ["write", "train", "train", "report", "report", "compare"]


def test_the_container_has_what_it_names():
    """No Docker is needed: its extras are ones that setup.py has, and its paths are in the repository."""
    text, setup = ((DOCS.parent / name).read_text(encoding="utf-8") for name in ("Dockerfile", "setup.py"))
    extras = re.search(r"/opt/demitasse\[([\w,-]+)\]", text)[1].split(",")
    assert extras and all(f'"{extra}": [' in setup for extra in extras)
    assert (DOCS.parent / re.search(r"/opt/demitasse/(\S+\.py)", text)[1]).is_file()
    assert 'ENTRYPOINT ["demitasse"]' in text and "USER demitasse" in text


PARTS = ("proto", "layers", "netdef", "solver", "models", "caffe", "tests", "docs", "benchmarks", "demitasse")


@pytest.mark.parametrize(
    "guide", ["architecture.md", "adding-a-layer.md", "gpu.md", "../CONTRIBUTING.md", "../README.md"]
)
def test_the_paths_that_a_guide_names_are_there(guide):
    """Of the repository: a word in code that begins with one of its folders."""
    words = re.findall(r"`([^`\n]+)`", (DOCS / guide).read_text(encoding="utf-8"))
    named = {
        path.rstrip("./") for word in words for path in re.findall(rf"(?:{'|'.join(PARTS)})/[\w./-]+(?![\w*])", word)
    }
    assert named and [path for path in sorted(named) if not (DOCS.parent / path).exists()] == []
