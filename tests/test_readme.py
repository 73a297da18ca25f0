"""README.md holds what it says: its commands parse, and its net on one page trains, is scored and labels images."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.models.__main__ import main as models
from demitasse.netdef.__main__ import main as netdef
from demitasse.netdef.net import Net
from demitasse.solver.__main__ import main as solver

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
TINY, SOLVER, INPUT, SPEC = re.findall(r"```(?:python)?\n(.*?)```", TEXT, re.DOTALL)[:4]
COMMANDS = [
    shlex.split(line.replace("\\\n", " "), comments=True)
    for line in re.findall(r"^    python -m ((?:solver|netdef|models) (?:.*\\\n)*.*)$", TEXT, re.MULTILINE)
]


def test_all_commands_are_there():
    named = {" ".join(words[:2]) for words in COMMANDS}
    assert len(COMMANDS) == len({tuple(words) for words in COMMANDS}) and named >= {
        "solver train",
        "solver test",
        "solver time",
        "netdef show",
        "netdef draw",
        "netdef upgrade",
        "netdef convert",
        "netdef diff",
        "models list",
        "models write",
        "models score",
        "models segment",
    }


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_a_command_is_understood(words, tmp_path, monkeypatch, capsys):
    """In an empty folder each gets as far as to miss its files; only `models` needs none."""
    monkeypatch.chdir(tmp_path)
    run = {"solver": solver, "netdef": netdef, "models": models}[words[0]]
    code = run(words[1:])
    out, err = capsys.readouterr()
    if words[0] == "models" and words[1] in ("list", "write"):
        assert code == 0 and out
    else:
        assert code == 2 and re.search("Could not open file|no images there|no such file|does not exist|no file", err)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with small photos and labels of two kinds of square."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / "my" / kind).mkdir(parents=True)
    for i in range(6):
        labels = np.zeros((24 + i, 30), np.uint8)
        labels[4:12, 4:12], labels[12:20, 15:25], labels[0] = 1, 2, 255
        image = np.stack([labels * 90, labels * 30, 200 - labels % 3 * 60], 2) + rng.integers(0, 20, (24 + i, 30, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(tmp_path / "my" / "images" / f"{i}.jpg")
        Image.fromarray(labels).save(tmp_path / "my" / "labels" / f"{i}.png")
    (tmp_path / "tiny.prototxt").write_text(TINY)
    (tmp_path / "tiny_solver.prototxt").write_text(SOLVER)
    return tmp_path


def test_the_net_on_one_page(folder, capsys):
    assert netdef(["show", "tiny.prototxt"]) == 0
    assert "Crop crop: offset 1 is right" in capsys.readouterr().out
    assert solver(["train", "tiny_solver.prototxt", "--iterations", "5"]) == 0
    assert models(["score", "tiny.prototxt", "--weights", "tiny_iter_5.caffemodel"]) == 0
    assert "6 images" in capsys.readouterr().out
    data, rest = TINY.index('layer { name: "data"'), TINY.index('layer { name: "conv1"')
    (folder / "tiny_deploy.prototxt").write_text(TINY[:data] + INPUT + TINY[rest : TINY.index('layer { name: "loss"')])
    assert models(["segment", "my/images", "--net", "tiny_deploy.prototxt", "--weights", "tiny_iter_5.caffemodel"]) == 0
    assert Image.open("segmented/5.png").size == (30, 29)


def test_the_net_in_python(folder):
    code = SPEC + "print(format(n.to_proto()))\n"
    run = subprocess.run(
        [sys.executable, "-c", "from demitasse.proto.text import format\n" + code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    net = Net(run.stdout, "TRAIN")
    assert net.layer_names == ["data", "conv1", "relu1"]
    assert net.forward()["conv1"].shape[:2] == (1, 16)
