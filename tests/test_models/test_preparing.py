"""python -m models check and prepare: labels looked at, labels and weights changed."""

import numpy as np
from PIL import Image

from demitasse.models.fcn import DataSource, Head, fcn
from demitasse.models.palette import colour
from demitasse.models.surgery import param_shapes
from demitasse.netdef.net import Net
from demitasse.proto import text
from demitasse.proto.weights import read_weights, write_weights
from tests.test_models import minis
from tests.test_models.running import run


def test_check_finds_what_would_stop_a_training(tmp_path, capsys):
    minis.folder(tmp_path)
    code, out, _ = run(capsys, "check", tmp_path / "images", tmp_path / "labels", "--classes", tmp_path / "classes.txt")
    assert code == 0 and "3 images with good labels" in out and "road" in out and "no faults" in out
    Image.fromarray(np.full((20, 24), 7, np.uint8)).save(tmp_path / "labels/q.png")
    minis.picture(tmp_path / "labels/r.png", (20, 24))
    minis.picture(tmp_path / "images/s.png", (9, 9))
    minis.picture(tmp_path / "labels/t.png", (9, 9), mode="L")
    minis.picture(tmp_path / "images/u.png", (8, 8))
    minis.picture(tmp_path / "labels/u.png", (9, 9), mode="L")
    code, out, _ = run(capsys, "check", tmp_path / "images", tmp_path / "labels", "--classes", 3)
    assert code == 1 and "5 faults" in out
    for words in (
        "q.png: label 7 at row 0, column 0 is no class",
        "r.png: is a picture of colours",
        "s.png: has no label",
        "t.png: is a label without an image",
        "u.png: is 9x9, its image u.png 8x8",
    ):
        assert words in out, out


def test_coloured_labels_become_indices(tmp_path, capsys):
    labels = minis.labels((12, 14), 21)
    (tmp_path / "rgb").mkdir()
    Image.fromarray(colour(labels)).save(tmp_path / "rgb/a.png")
    code, _, _ = run(capsys, "prepare", "labels", tmp_path / "rgb", tmp_path / "out")
    assert code == 0 and np.array_equal(np.asarray(Image.open(tmp_path / "out/a.png")), labels)
    (tmp_path / "two.txt").write_text("0 0 0 nothing\n128, 0, 0, aeroplane\n")
    code, _, err = run(
        capsys, "prepare", "labels", tmp_path / "rgb", tmp_path / "out2", "--colours", tmp_path / "two.txt"
    )
    assert code == 2 and "is no class's (of 2)" in err
    run(capsys, "prepare", "labels", tmp_path / "rgb", tmp_path / "out2", "--colours", tmp_path / "two.txt", "--others")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out2/a.png")), np.where(labels < 2, labels, 255))


def test_surgery_as_commands(tmp_path, capsys):
    old, new = (fcn(DataSource(size=(40, 40)), [Head(n)], stride=16, width=1 / 64) for n in (21, 3))
    (tmp_path / "old.prototxt").write_text(text.format(old))
    (tmp_path / "new.prototxt").write_text(text.format(new))
    rng = np.random.default_rng(3)
    weights = {
        name: [rng.normal(size=shape).astype(np.float32) for shape in shapes]
        for name, shapes in param_shapes(old).items()
    }
    write_weights(tmp_path / "old.npz", weights)
    code, out, _ = run(capsys, "prepare", "interp", tmp_path / "old.prototxt", tmp_path / "old.npz", tmp_path / "i.npz")
    assert code == 0 and "bilinear: upscore2, upscore16" in out
    assert read_weights(tmp_path / "i.npz")["upscore2"][0][0, 0].sum() == 4
    code, out, _ = run(
        capsys,
        "prepare",
        "classes",
        tmp_path / "new.prototxt",
        tmp_path / "old.npz",
        tmp_path / "n.npz",
        "--take",
        "0,7,-",
    )
    assert code == 0 and "changed: score_fr, upscore2, score_pool4, upscore16" in out
    made = read_weights(tmp_path / "n.npz")
    assert np.array_equal(made["score_fr"][0][1], weights["score_fr"][0][7]) and not made["score_fr"][0][2].any()
    assert not Net(tmp_path / "new.prototxt", weights=str(tmp_path / "n.npz")).load_report.missing
    code, _, err = run(
        capsys,
        "prepare",
        "classes",
        tmp_path / "new.prototxt",
        tmp_path / "old.npz",
        tmp_path / "n.npz",
        "--take",
        "0,7",
    )
    assert code == 2 and "--take 0,7 (2 classes)" in err
    code, out, _ = run(capsys, "prepare", "rgbd", tmp_path / "old.npz", tmp_path / "d.npz")
    assert code == 0 and read_weights(tmp_path / "d.npz")["conv1_1_bgrd"][0].shape == (1, 4, 3, 3)
    code, _, err = run(capsys, "prepare", "rgbd", tmp_path / "old.npz", tmp_path / "old.npz")
    assert code == 2 and "is what is read: write to another file" in err
