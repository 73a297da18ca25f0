"""What newcomers do with data of their own: each mistake ends in one line that helps, before anything is trained."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.__main__ import main as demitasse
from demitasse.netdef.net import Net
from tests.test_models import minis

WRITE = "write own nets --images images --labels labels --classes classes.txt --iterations 2 --resize 20"
TRAIN = "train nets/own/solver.prototxt --device generic"
MADE = "python -m models prepare labels labels labels-indices"


def labels(change, ending=".png"):
    """A mistake that rewrites every label: change(indices) gives a picture or an array."""

    def make():
        for path in sorted(Path("labels").iterdir()):
            made = change(np.asarray(Image.open(path)))
            path.unlink()
            (made if isinstance(made, Image.Image) else Image.fromarray(made)).save(
                path.with_suffix("").as_posix() + ending
            )

    return make


def named(ending):
    """A mistake in the labels' names."""

    def make():
        for path in sorted(Path("labels").iterdir()):
            path.rename(f"labels/{ending(path.stem)}.png")

    return make


def each(folder, change):
    """A mistake in every file of a folder."""
    return lambda: [change(path) for path in sorted(Path(folder).iterdir())]


def text(path, words):
    return lambda: Path(path).write_text(words)


def halved(path):
    Image.open(path).resize((7, 9)).save(path)


def moved(path):
    Path("images/day1").mkdir(exist_ok=True)
    path.rename(f"images/day1/{path.name}")


COLOURS = np.array([[9, 9, 9], [200, 10, 10], [10, 200, 10]], np.uint8)
GONE = lambda folder: lambda: shutil.rmtree(folder)  # noqa: E731
FINE = lambda: None  # noqa: E731

# what is done wrong: (how, before the net is written; the command; what its line says)
WRITING = {
    "no images": (GONE("images"), WRITE, "images: no such folder"),
    "no labels": (GONE("labels"), WRITE, "labels: no such folder"),
    "no class names": (lambda: Path("classes.txt").unlink(), WRITE, "give their number, or a file with a name a line"),
    "labels not given": (FINE, WRITE.replace("--labels labels ", ""), "own data need all three: --images DIR --labels"),
    "an empty folder": (each("images", Path.unlink), WRITE, "images: holds no images"),
    "images a folder deeper": (each("images", moved), WRITE, "there are some in its folder day1"),
    "images and labels exchanged": (
        FINE,
        WRITE.replace("--images images --labels labels", "--images labels --labels images"),
        "labels are pictures of more than 255 colours: photos",
    ),
    "black-and-white masks": (labels(lambda x: (x > 0) * np.uint8(255)), WRITE, f"{MADE} --map=255=1"),
    "masks in three channels": (
        labels(lambda x: Image.fromarray((x > 0) * np.uint8(255)).convert("RGB")),
        WRITE,
        f"{MADE} --map=255=1",
    ),
    "masks as JPEG": (
        labels(lambda x: (x > 0) * np.uint8(255), ".jpg"),
        WRITE.replace("classes.txt", "2"),
        f"{MADE} --threshold=128",
    ),
    "labels as colours": (labels(lambda x: Image.fromarray(COLOURS[x % 3])), WRITE, f"{MADE} --colours=colours.txt"),
    "labels in steps": (labels(lambda x: x % 3 * np.uint8(100)), WRITE, f"{MADE} --map=100=1,200=2"),
    "classes from 1": (labels(lambda x: x % 3 + np.uint8(1)), WRITE, f"{MADE} --map=1=0,2=1,3=2"),
    "names with _mask": (named(lambda stem: f"{stem}_mask"), WRITE, f"{MADE} --strip=_mask --values"),
    "names in capitals": (named(str.upper), WRITE, "upper and lower case differ"),
    "names of something else": (named(lambda stem: f"label {ord(stem[0])}"), WRITE, "has no label labels/"),
    "too few classes": (
        labels(lambda x: x % 3),
        WRITE.replace("classes.txt", "2"),
        "is no class: there are 2 (0 to 1)",
    ),
    "one class": (labels(lambda x: x * 0), WRITE, "the only class in all labels is 0: nothing to tell apart"),
    "only the thing itself is a class": (
        labels(lambda x: (x > 0) * np.uint8(1)),
        WRITE.replace("classes.txt", "1"),
        "what is not the thing is a class, too",
    ),
    "labels of another size": (each("labels", halved), WRITE, "is 9x7, its image"),
    "labels of 16 bits": (
        labels(lambda x: Image.fromarray(x.astype(np.uint16) * 999)),
        WRITE,
        "is no class: there are 255",
    ),
    "files that are none": (
        each("images", lambda path: path.write_bytes(b"")),
        WRITE,
        "images/a.png: the file is empty (and 3 more",
    ),
    "a single image": (
        lambda: [p.unlink() for p in sorted(Path("images").iterdir())[1:]],
        WRITE,
        "at least 2 are needed",
    ),
    "no classes": (FINE, WRITE.replace("classes.txt", "0"), "--classes 0: there must be something to tell apart"),
    "too many classes": (FINE, WRITE.replace("classes.txt", "300"), "300 classes: there must be 1 to 255"),
    "an empty list of classes": (text("classes.txt", "\n"), WRITE, "0 classes: there must be 1 to 255"),
    "an option misspelt": (FINE, f"{WRITE} --balanced", "did you mean '--balance'?"),
    "a net misspelt": (FINE, WRITE.replace("own", "onw", 1), "did you mean 'own'?"),
}

SEGMENT = "segment images --net nets/own/deploy.prototxt --weights w.caffemodel"
# the same, after it is written
TRAINING = {
    "images moved": (lambda: Path("images").rename("photos"), TRAIN, "images: no such folder"),
    "an image removed": (each("images", Path.unlink), TRAIN, "train.txt: no image '"),
    "labels drawn anew in colours": (
        labels(lambda x: Image.fromarray(COLOURS[x % 3])),
        TRAIN,
        "is a picture of colours",
    ),
    "a class more in the labels": (labels(lambda x: x % 3 + np.uint8(2)), TRAIN, "is no class: there are 3 (0 to 2)"),
    "an edited net": (
        lambda: [
            text(p, p.read_text().replace("num_output: 3", "num_output: 2"))() for p in Path("nets/own").glob("t*.p*")
        ],
        TRAIN,
        "nets/own/train.prototxt",
    ),
    "the net for the solver": (
        FINE,
        TRAIN.replace("solver.p", "train.p"),
        "is this the net's file instead of the solver's?",
    ),
    "a file misspelt": (FINE, TRAIN.replace("solver.", "sovler."), "did you mean"),
    "a setting misspelt": (FINE, f"{TRAIN} --set base_rl=1", "did you mean 'base_lr'?"),
    "a rate with a comma": (FINE, f"{TRAIN} --set base_lr=0,01", "a decimal point"),
    "a metric misspelt": (FINE, f"{TRAIN} --keep-best meaniu", "did you mean 'mean_iu'?"),
    "a folder for the log": (FINE, f"{TRAIN} --log nets", "cannot write the log nets"),
    "weights that are not there": (FINE, f"{TRAIN} --weights vgg.caffemodel", "vgg.caffemodel"),
    "a picture for weights": (
        lambda: shutil.copy("images/a.png", "w.caffemodel"),
        f"{TRAIN} --weights w.caffemodel",
        "PNG",
    ),
    "weights to go on from": (
        text("w.caffemodel", "x"),
        f"{TRAIN} --snapshot w.caffemodel",
        "give its .solverstate to go on, or --weights to begin anew",
    ),
    "nothing to go on from": (FINE, f"{TRAIN} --resume", "leave --resume out to begin"),
    "a net to score without data": (
        FINE,
        "score nets/own/deploy.prototxt --weights w.caffemodel",
        "nets/own/deploy.prototxt: has no SoftmaxWithLoss, InfogainLoss or Accuracy layer that would say what is to be "
        "scored: give a val or test prototxt",
    ),
    "labelling before training": (FINE, SEGMENT, "w.caffemodel"),
    "labelling with the training net": (
        lambda: Net("nets/own/train.prototxt", "TRAIN").save("w.caffemodel"),
        SEGMENT.replace("deploy", "train"),
        "its images come from a data layer: segmenting takes a net with one Input",
    ),
    "a report before training": (FINE, "report nets/own runs/own", "train first, or give --weights FILE"),
    "comparing runs without logs": (FINE, "compare runs/a runs/b", "no such log: train with --log runs/a/log.jsonl"),
}


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    minis.folder(tmp_path, names=("a.png", "b.png", "c.png", "d.png"))

    def command(words):
        """(exit status, lines on stderr) of a command."""
        capsys.readouterr()
        try:
            status = demitasse(words.split())
        except SystemExit as end:  # of argparse
            status = end.code
        return status, capsys.readouterr().err.splitlines()

    return command


@pytest.mark.parametrize("mistake", WRITING)
def test_before_the_net_is_written(here, mistake):
    make, words, said = WRITING[mistake]
    make()
    status, lines = here(words)
    assert status == 2 and len(lines) == 1 and said in lines[0], lines
    assert not Path("nets").exists()


@pytest.mark.parametrize("mistake", TRAINING)
def test_before_it_is_trained(here, mistake):
    make, words, said = TRAINING[mistake]
    assert here(WRITE)[0] == 0
    make()
    status, lines = here(words)
    assert status == 2 and said in lines[-1], lines
    assert not [line for line in lines if "Traceback" in line or "Iteration 0" in line]
    assert not list(Path().rglob("*_iter_*"))


def test_there_are_more_than_thirty():
    assert len(WRITING) + len(TRAINING) > 30
