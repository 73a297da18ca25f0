"""A net's own folder: nothing edited is overwritten unasked; it trains copied, moved and from any directory."""

import ast
import shutil
from pathlib import Path

import pytest

from demitasse.models.__main__ import main
from demitasse.proto.input_paths import located
from demitasse.proto.text import read_net
from demitasse.solver.__main__ import main as solver
from demitasse.solver.path_lookup import Finder
from tests.test_models import minis

WORDS = "write own nets --images images --labels labels --classes classes.txt --iterations 2 --resize 20".split()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    minis.folder(tmp_path, names=[f"{i}.png" for i in range(4)])
    assert main(WORDS) == 0
    return tmp_path


def test_written_again_nothing_edited_is_lost(home, capsys):
    file = home / "nets/own/solver.prototxt"
    assert main(WORDS) == 0, "the same again is fine"
    file.write_text(file.read_text() + "# mine\n")
    (home / "nets/own/train.txt").write_text("0.png\n")
    capsys.readouterr()
    assert main(WORDS) == 2
    shown = capsys.readouterr().err
    assert "nets/own/train.txt (and solver.prototxt) is there already" in shown and "--overwrite" in shown
    assert shown.count("\n") == 1 and file.read_text().endswith("# mine\n")
    assert main([*WORDS, "--overwrite"]) == 0
    assert "mine" not in file.read_text()


@pytest.mark.parametrize("words", [("voc-fcn32s", "--classes", "names.txt"), ("demo",)])
def test_nor_by_the_other_nets(home, words, capsys):
    (home / "names.txt").write_text("a\nb\n")
    command = ["write", words[0], "out", *words[1:]]
    assert main(command) == 0 == main(command)
    for file in sorted((home / "out" / words[0]).iterdir()):
        kept = file.read_text()
        file.write_text("mine")
        assert main(command) == 2 and file.read_text() == "mine" and "--overwrite" in capsys.readouterr().err
        file.write_text(kept)
    assert main([*command, "--overwrite"]) == 0


def test_the_paths_are_relative_to_the_file_unless_given_from_the_root(home):
    def options():
        return ast.literal_eval(read_net(home / "nets/own/train.prototxt")[0].layer[0].python_param.param_str)

    named = {name: options()[name] for name in ("images", "labels", "classes", "split")}
    assert list(named.values()) == ["../../images", "../../labels", "./classes.txt", "./train.txt"]
    words = [str(home / word) if word in ("images", "labels") else word for word in WORDS]
    assert main([*words, "--overwrite"]) == 0 and options()["images"] == str(home / "images")
    for file in (home / "nets/own").glob("*.prototxt"):
        assert str(home) not in file.read_text().replace(str(home / "images"), "").replace(str(home / "labels"), "")


def trained(folder):
    return sorted(path.name for path in (folder / "snapshot").glob("*_iter_2.caffemodel"))


def test_it_trains_from_every_directory_and_a_copy_into_its_own_folder(home, monkeypatch, capsys):
    shutil.copytree("nets/own", "nets/other")
    (home / "train.prototxt").write_text("no net")  # what lies in the working directory is not meant
    (home / "snapshot").mkdir()
    assert solver(["train", "nets/other/solver.prototxt"]) == 0, capsys.readouterr().err
    assert trained(home / "nets/other") and not trained(home / "nets/own") and not trained(home)
    monkeypatch.chdir(home / "nets/own")
    assert solver(["train", "solver.prototxt"]) == 0
    assert trained(home / "nets/own")
    monkeypatch.chdir("/")
    shutil.rmtree(home / "nets/other/snapshot")
    assert solver(["train", str(home / "nets/other/solver.prototxt")]) == 0
    assert trained(home / "nets/other")
    moved = home.parent / (home.name + "-moved")
    home.rename(moved)
    code = main(["report", str(moved / "nets/own"), str(moved / "runs/own")])
    assert code == 0, capsys.readouterr().err


def test_images_that_are_gone_are_one_line(home, capsys):
    shutil.move("images", "pictures")
    assert solver(["train", "nets/own/solver.prototxt"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "images: no such folder" in said and "layer 'data' (Python)" in said


def test_where_a_path_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net").mkdir()
    Path("both").write_text("")
    Path("net/both").write_text("")
    Path("net/one").write_text("")
    assert located("both", "net") == "both" and located("./both", "net") == "net/both"
    assert located("one", "net") == "net/one" == located("./one", "net")
    assert located("../both", "net") == "both" and located("/gone", "net") == "/gone"
    assert located("gone", "net") == "gone" and located("./gone", "net") == "net/gone"
    find = Finder("net/solver.prototxt")
    assert find("both", "net") == "both" and find("./both", "net") == "net/both"
    assert find.for_writing("./snapshot/train") == "net/snapshot/train" and find.for_writing("./train") == "./train"
    Path("snapshot").mkdir()
    assert find.for_writing("./snapshot/train") == "./snapshot/train", "as in Caffe, where the solver has none"
    Path("net/snapshot").mkdir()
    assert find.for_writing("./snapshot/train") == "net/snapshot/train"
    assert find.for_writing("snapshot/train") == "snapshot/train"


@pytest.mark.parametrize(
    "words, said",
    [
        ("train own", "own has no recipe: `python -m models write own OUT`"),
        ("write owm nets", "no net 'owm' (did you mean 'own'?)"),
        ("write demo2 nets", "did you mean 'demo'?"),
        ("write own nets", "own data need all three"),
        ("write siftflow-fcn8s nets --images images --labels labels --classes 3", "has several heads or images"),
    ],
)
def test_nets_that_there_are_not(home, words, said, capsys):
    capsys.readouterr()
    assert main(words.split()) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and not shown.out
