"""Labels as annotation tools leave them: each kind is named, counted as a fault, and mended by the command offered."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.models.__main__ import main
from demitasse.models.data import read
from demitasse.models.data.folder_layers import list_images
from demitasse.netdef.net import Net

COLOURS = np.array([[200, 10, 10], [10, 200, 10]], np.uint8)
VOC = np.array([[0, 0, 0], [128, 0, 0]], np.uint8)


def gray(labels, factor):
    return Image.fromarray(labels * np.uint8(factor))


def blurred(labels):
    height, width = labels.shape
    small = gray(labels, 255).resize((width // 2, height // 2), Image.Resampling.BILINEAR)
    return small.resize((width, height), Image.Resampling.BILINEAR)


# kind -> (a label picture of the classes 0 and 1, what is behind the name, what is said of the set)
KINDS = {
    "black and white": (lambda x: gray(x, 255), ".png", "black-and-white masks: their only values are 0 and 255"),
    "in colours": (lambda x: gray(x, 255).convert("RGB"), ".png", "black-and-white masks, saved as colours"),
    "in 1 bit": (lambda x: gray(x, 255).convert("1"), "_mask.png", "names have _mask behind"),
    "suffix": (lambda x: gray(x, 1), "_seg_label.png", "names have _seg_label behind"),
    "white, suffix": (lambda x: gray(x, 255), "-seg.png", "black-and-white masks"),
    "jpeg": (lambda x: gray(x, 255), ".jpg", "black-and-white masks with blurred borders"),
    "blurred": (blurred, ".png", "black-and-white masks with blurred borders"),
    "steps": (lambda x: gray(x, 100), ".png", "the values are 0, 100, not 0 to 1"),
    "rgb": (lambda x: Image.fromarray(COLOURS[x]), ".png", "pictures of 2 colours: 200 10 10; 10 200 10"),
    "voc": (lambda x: Image.fromarray(VOC[x]), ".png", "pictures of PASCAL VOC's colours"),
    "gray rgb": (lambda x: gray(x, 1).convert("RGB"), ".png", "class indices saved as gray colours"),
    "transparent": (lambda x: Image.fromarray(np.stack([x, x * 255], 2), "LA"), ".png", "saved as gray colours"),
}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """my/images of three sizes under cameras' names, with a thumbnail file among them; the true labels by stem."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my/images").mkdir(parents=True)
    (tmp_path / "my/images/Thumbs.db").write_text("no picture")
    (tmp_path / "my/classes.txt").write_text("ground\nthing\n")
    (tmp_path / "colours.txt").write_text("200 10 10 ground\n10 200 10 thing\n")
    truth, rng = {}, np.random.default_rng(1)
    for i, name in enumerate(("DSC00001.JPG", "IMG_2024 (1).jpeg", "c.v2.png", "d.PNG")):
        labels = np.zeros([(40, 60), (60, 40), (32, 48)][i % 3], np.uint8)
        labels[8 : 24 + i, 10:30] = 1
        pixels = rng.integers(0, 80, (*labels.shape, 3)).astype(np.uint8) + 120 * labels[:, :, None]
        Image.fromarray(pixels).save(f"my/images/{name}")
        truth[name.rpartition(".")[0]] = labels
    return truth


def write_labels(truth, draw, ending, folder="my/labels"):
    Path(folder).mkdir()
    for stem, labels in truth.items():
        draw(labels).save(f"{folder}/{stem}{ending}")


def run(capsys, *words):
    code = main(list(words))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


OWN = ("write", "own", "nets", "--images", "my/images", "--classes", "my/classes.txt", "--labels")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_with_the_set_is_named_and_mended(photos, kind, capsys):
    draw, ending, said = KINDS[kind]
    write_labels(photos, draw, ending)
    code, out, _ = run(capsys, "check", "my/images", "my/labels", "--classes", "my/classes.txt")
    assert code == 1 and said in out and "no faults" not in out, out
    code, _, err = run(capsys, *OWN, "my/labels")
    assert code == 2 and err.count("\n") == 1 and said in err, err
    remedy = err.partition("this mends the labels: python -m models ")[2]
    assert run(capsys, *shlex.split(remedy))[0] == 0
    for stem, labels in photos.items():
        made = read.label_png(f"my/labels-indices/{stem}.png", 2)
        wrong = (made != labels).mean()
        assert wrong < 0.1 if kind in ("blurred", "jpeg") else wrong == 0
    code, out, _ = run(capsys, "check", "my/images", "my/labels-indices", "--classes", "2")
    assert code == 0 and "no faults" in out
    code, out, _ = run(capsys, *OWN, "my/labels-indices")
    assert code == 0 and "4 images with good labels, heights 32 to 60, widths 40 to 60" in out
    assert "mean colour (B,G,R)" in out and "thing" in out


def test_labels_of_upper_case_endings_are_found_and_trained_on(photos, capsys):
    write_labels(photos, lambda x: gray(x, 1), ".PNG")
    assert run(capsys, *OWN, "my/labels")[0] == 0
    net = Net("nets/own/train.prototxt", "TRAIN", keep=["label"])
    net.forward()
    assert set(np.unique(net.backend.to_host(net.blobs["label"]))) <= {0, 1}
    net.close()


def test_single_files_are_left_out_with_the_reason(photos, capsys):
    write_labels(photos, lambda x: gray(x, 1), ".png")
    Image.fromarray(np.full((40, 60), 9, np.uint8)).save("my/labels/DSC00001.png")
    with open("my/images/torn.jpg", "wb") as file:
        file.write(b"\xff\xd8\xff\xe0 no more")
    gray(photos["d"], 1).save("my/labels/torn.png")
    code, out, _ = run(capsys, *OWN, "my/labels")
    assert code == 0 and "3 images with good labels" in out and "2 files" in out
    assert "label 9 at row 0, column 0 is no class" in out and "torn.jpg: broken image" in out
    with open("nets/own/train.txt") as train, open("nets/own/val.txt") as val:
        assert sorted((train.read() + val.read()).splitlines()) == ["IMG_2024 (1).jpeg", "c.v2.png", "d.PNG"]


@pytest.mark.parametrize(
    "value, classes, said",
    [
        (0, "2", "the only class in all labels is 0: nothing to tell apart"),
        (255, "2", "their only values are 255, and 255 means no class"),
        (1, "1", "there is 1 class: what is not the thing is a class, too"),
    ],
)
def test_labels_without_two_classes(photos, value, classes, said, capsys):
    write_labels(photos, lambda x: gray(x if classes == "1" else np.full_like(x, value), 1), ".png")
    code, out, _ = run(capsys, "check", "my/images", "my/labels", "--classes", classes)
    assert code == 1 and said in out


def test_without_classes_the_values_are_listed(photos, capsys):
    write_labels(photos, lambda x: gray(x, 7), ".png")
    code, out, _ = run(capsys, "check", "my/images", "my/labels")
    assert code == 0 and "value 0" in out and "value 7" in out and "value 3" not in out and "--classes N" in out


def test_what_is_ignored_is_no_class(photos, capsys):
    def bordered(x):
        x = x.copy()
        x[0] = 255
        return gray(x, 1)

    write_labels(photos, bordered, ".png")
    code, out, _ = run(capsys, "check", "my/images", "my/labels", "--classes", "2")
    assert code == 0 and "no faults" in out and "(none)" in out
    code, out, _ = run(capsys, "check", "my/images", "my/labels", "--classes", "3", "--ignore", "0")
    assert code == 1 and "the only class in all labels is 1" in out


def test_names_that_differ_in_case_only(photos, capsys):
    write_labels({stem.lower(): labels for stem, labels in photos.items()}, lambda x: gray(x, 1), ".png")
    code, out, _ = run(capsys, "check", "my/images", "my/labels", "--classes", "2")
    assert code == 1 and "(there is dsc00001.png: upper and lower case differ)" in out


def test_empty_folders(photos, tmp_path, capsys):
    write_labels(photos, lambda x: gray(x, 1), ".png")
    (tmp_path / "none").mkdir()
    code, _, err = run(capsys, "check", "none", "my/labels", "--classes", "2")
    assert code == 2 and err.count("\n") == 1 and "none: holds no images" in err
    code, _, err = run(capsys, "check", "my", "my/labels", "--classes", "2")
    assert code == 2 and "my: holds no images: there are some in its folder images" in err


def test_prepare_labels_overwrites_nothing_and_mixes_nothing(photos, capsys):
    write_labels(photos, lambda x: gray(x, 255), ".png")
    words = ("prepare", "labels", "my/labels", "my/out")
    code, out, _ = run(capsys, *words)
    assert code == 0 and "--map 255=1 makes white class 1" in out
    code, _, err = run(capsys, *words, "--map", "255=1")
    assert code == 2 and "is there already: choose an empty folder, or --overwrite" in err
    assert run(capsys, *words, "--map", "255=1", "--overwrite")[0] == 0
    assert {int(v) for path in list_images("my/out").values() for v in np.unique(read.label_png(path))} == {0, 1}
    gray(photos["d"], 1).save("my/labels/d_2.png")
    code, _, err = run(capsys, "prepare", "labels", "my/labels", "my/new", "--strip", "_2")
    assert code == 2 and "would both become" in err
    for more, said in (
        (("--map", "255"), "give value=class pairs"),
        (("--map", "255=1", "--colours", "colours.txt"), "give one"),
    ):
        code, _, err = run(capsys, *words[:3], "my/new", *more)
        assert code == 2 and said in err and err.count("\n") == 1


def test_uneven_classes_come_with_weights(photos, capsys):
    def rare(x):
        x = np.zeros_like(x)
        x[0, :4] = 1
        return gray(x, 1)

    write_labels(photos, rare, ".png")
    code, out, _ = run(capsys, "check", "my/images", "my/labels", "--classes", "2")
    assert code == 0 and "--balance" in out and "loss_param { class_weight: 0.5" in out
