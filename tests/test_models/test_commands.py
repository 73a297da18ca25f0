"""python -m models score, segment, report, check and prepare, on a tiny net with random weights."""

import importlib.util
import json
import re

import numpy as np
import pytest
from PIL import Image

from demitasse.models.__main__ import main
from demitasse.models.data import scenes
from demitasse.models.evaluate import Evaluation
from demitasse.models.fcn import DataSource, Head, fcn
from demitasse.models.palette import save_labels
from demitasse.netdef.net import Net
from demitasse.proto import text
from tests.test_models import minis
from tests.test_models.running import run

SHAPE = dict(stride=8, width=1 / 64, random=True, snug=True, fc_kernel=1)


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Five scenes, a net for them (train, val, deploy, solver) and a snapshot of it."""
    root = tmp_path_factory.mktemp("there")
    folder = scenes.write(root / "data", 3, 2, (32, 40))
    (root / "net").mkdir()
    for split, batch in (("train", 2), ("val", 1), ("deploy", 1)):
        source = DataSource(
            labels=("label",),
            module="voc_layers",
            layer="VOCSegDataLayer",
            options={"voc_dir": str(folder), "split": split, "seed": 1, "classes": 9, "batch_size": batch},
        )
        source = source.deploy() if split == "deploy" else source
        (root / f"net/{split}.prototxt").write_text(text.format(fcn(source, [Head(9)], **SHAPE)))
    (root / "net/solver.prototxt").write_text(f'train_net: "train.prototxt" snapshot_prefix: "{root}/run/s"')
    (root / "run").mkdir()
    for iteration in (5, 20):
        net = Net(root / "net/deploy.prototxt", seed=iteration)
        net.save(root / f"run/s_iter_{iteration}.caffemodel")
    return root


def test_score_prints_the_table_and_saves_predictions(there, capsys):
    weights = there / "run/s_iter_20.caffemodel"
    code, out, _ = run(capsys, "score", there / "net/val.prototxt", "--weights", weights, "--save", there / "saved")
    assert code == 0 and "2 images, loss" in out and "flower" in out and "frequency weighted IU" in out
    assert sorted(path.name for path in (there / "saved").iterdir()) == ["scene00003.png", "scene00004.png"]
    evaluation = Evaluation(there / "net/val.prototxt", weights)
    example = next(iter(evaluation))
    assert np.array_equal(np.asarray(Image.open(there / "saved/scene00003.png")), example.predicted["score"])
    picture = np.asarray(Image.open(there / "data/JPEGImages/scene00003.jpg"))
    assert np.array_equal(example.picture, picture), "the image is shown as it was stored"
    evaluation.close()


def test_a_training_split_is_scored_once_through_and_in_order(there):
    evaluation = Evaluation(there / "net/train.prototxt", there / "run/s_iter_20.caffemodel")
    assert [example.name for example in evaluation] == ["scene00000", "scene00001", "scene00002"]
    labelled = sum(
        int((np.asarray(Image.open(path)) != 255).sum())
        for path in sorted((there / "data/SegmentationClass").iterdir())[:3]
    )
    assert evaluation.matrices["score"].sum() == labelled
    evaluation.close()


@pytest.mark.parametrize("value, said", [(0, "every labelled pixel of the truth is class 0"), (255, "no pixel of the")])
def test_score_does_not_praise_a_truth_without_classes(there, tmp_path, capsys, value, said):
    folder = scenes.write(tmp_path / "data", 1, 2, (32, 40))
    for path in (folder / "SegmentationClass").iterdir():
        save_labels(path, np.full((32, 40), value, np.uint8))
    net = (there / "net/val.prototxt").read_text().replace(str(there / "data"), str(folder))
    (tmp_path / "val.prototxt").write_text(net)
    code, out, _ = run(capsys, "score", tmp_path / "val.prototxt", "--weights", there / "run/s_iter_20.caffemodel")
    assert code == 0 and said in out.splitlines()[-1]


def test_predictions_replace_predictions_only(there, tmp_path, capsys):
    minis.picture(tmp_path / "x/a.png", (20, 20))
    words = ("--net", there / "net/deploy.prototxt", "--weights", there / "run/s_iter_20.caffemodel", "--out", tmp_path)
    assert run(capsys, "segment", tmp_path / "x", *words)[0] == 0
    assert run(capsys, "segment", tmp_path / "x", *words)[0] == 0, "its own results are replaced"
    for name in ("a.png", "legend.png"):
        (kept := tmp_path / name).unlink()
        save_labels(kept, np.zeros((20, 20), np.uint8))
        before = kept.read_bytes()
        code, _, err = run(capsys, "segment", tmp_path / "x", *words)
        assert code == 2 and f"{name}: is there already" in err and kept.read_bytes() == before
        kept.unlink()
    scored = ("score", there / "net/val.prototxt", "--weights", there / "run/s_iter_20.caffemodel", "--save")
    assert run(capsys, *scored, tmp_path / "saved")[0] == 0 == run(capsys, *scored, tmp_path / "saved")[0]
    save_labels(tmp_path / "saved/scene00003.png", np.zeros((32, 40), np.uint8))
    code, _, err = run(capsys, *scored, tmp_path / "saved")
    assert code == 2 and "scene00003.png: is there already" in err


def test_score_with_two_heads(tmp_path, capsys):
    minis.siftflow(tmp_path / "sift")
    options = {"siftflow_dir": str(tmp_path / "sift"), "split": "test"}
    net = fcn(
        DataSource(labels=("sem", "geo"), module="siftflow_layers", layer="SIFTFlowSegDataLayer", options=options),
        [Head(33, "sem", "loss", "_sem"), Head(3, "geo", "loss_geo", "_geo")],
        **SHAPE,
    )
    (tmp_path / "test.prototxt").write_text(text.format(net))
    Net(tmp_path / "test.prototxt").save(tmp_path / "w.npz")
    code, out, _ = run(
        capsys,
        "score",
        tmp_path / "test.prototxt",
        "--weights",
        tmp_path / "w.npz",
        "--present-only",
        "--save",
        tmp_path / "saved",
    )
    assert code == 0 and "sem (score_sem)" in out and "geo (score_geo)" in out and "staircase" in out
    assert (tmp_path / "saved/score_geo/coast_1.png").exists()


@pytest.mark.parametrize(
    "words, fault",
    [
        (("net/deploy.prototxt",), "has no SoftmaxWithLoss, InfogainLoss or Accuracy layer"),
        (("net/deploy.prototxt", "--score", "score"), "has no data layer, so there is nothing to score it on"),
        (("net/val.prototxt", "--save", "data/JPEGImages"), "lies in the data set's folder"),
        (("net/val.prototxt", "--classes", "none.txt"), "classes: no file 'none.txt': give"),
    ],
)
def test_what_score_refuses(there, capsys, words, fault, monkeypatch):
    monkeypatch.chdir(there)
    code, _, err = run(capsys, "score", *words, "--weights", "run/s_iter_20.caffemodel")
    assert code == 2 and fault in err and err.count("\n") == 1


def test_segment_any_picture_and_pass_over_bad_files(there, tmp_path, capsys):
    photos = tmp_path / "photos"
    for name, size, mode in (
        ("a.jpg", (33, 47), "RGB"),
        ("a.png", (20, 21), "L"),
        ("wide.png", (16, 90), "RGBA"),
        ("p.png", (17, 17), "P"),
    ):
        minis.picture(photos / name, size, mode=mode)
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 100).save(photos / "deep.png")
    (photos / "torn.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    (photos / "notes.txt").write_text("no picture")
    common = ("--net", there / "net/deploy.prototxt", "--weights", there / "run/s_iter_20.caffemodel")
    code, out, err = run(capsys, "segment", photos, *common, "--out", tmp_path / "out", "--probabilities")
    assert code == 1 and "5 of 6 images segmented" in out
    assert err.count("passed over") == 1 and "torn.jpg: broken image" in err
    labels = Image.open(tmp_path / "out/a.jpg.png")
    assert labels.mode == "P" and labels.size == (47, 33)
    with np.load(tmp_path / "out/a.jpg.npz", allow_pickle=False) as file:
        likely = file["probabilities"]
    assert likely.shape == (9, 33, 47) and np.allclose(likely.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(likely.argmax(axis=0), np.asarray(labels))
    assert (tmp_path / "out/legend.png").exists() and (tmp_path / "out/wide.png_overlay.jpg").exists()
    code, out, _ = run(
        capsys,
        "segment",
        photos / "*.jpg",
        photos / "gone.jpg",
        *common,
        "--out",
        tmp_path / "few",
        "--max-side",
        24,
        "--mean",
        100,
        "--rgb",
        "--no-overlay",
    )
    assert code == 1 and "1 of 3" in out
    assert Image.open(tmp_path / "few/a.png").size == (47, 33)
    assert run(capsys, "segment", photos / "a.jpg", *common, "--out", tmp_path / "few", "--size", "16x24")[0] == 0
    assert Image.open(tmp_path / "few/a.png").size == (47, 33)


def test_what_segment_refuses(there, tmp_path, capsys):
    minis.picture(tmp_path / "x/a.png", (20, 20))
    for words, fault in (
        ((tmp_path / "x", "--out", tmp_path / "x"), "which results could overwrite"),
        ((tmp_path, "--out", tmp_path / "o"), "no images there"),
        ((tmp_path / "x", "--mean", "1,2"), "the mean has 2 values, input 'data' has 3 channels"),
        ((tmp_path / "x", "--mean", "dark"), "--mean dark: give numbers"),
        ((tmp_path / "x", "--blob", "scor"), "did you mean 'score'"),
    ):
        code, _, err = run(
            capsys,
            "segment",
            *words,
            "--net",
            there / "net/deploy.prototxt",
            "--weights",
            there / "run/s_iter_20.caffemodel",
        )
        assert code == 2 and fault in err and err.count("\n") == 1
    code, _, err = run(
        capsys,
        "segment",
        tmp_path / "x",
        "--net",
        there / "net/val.prototxt",
        "--weights",
        there / "run/s_iter_20.caffemodel",
    )
    assert code == 2 and "its images come from a data layer" in err


def test_report_of_a_run(there, capsys):
    events = [{"event": "train", "iteration": i, "loss": 5.0 / (i + 1), "lr": 0.1, "outputs": {}} for i in range(9)]
    identity = {"run": {"id": "0abc", "begun": "2026-11-27", "command": "train x"}}
    events.insert(0, {"event": "run", **identity, "iteration": 0})
    (there / "run/s_iter_20.solverstate.json").write_text(json.dumps(identity))
    events.append({"event": "test", "iteration": 8, "net": 0, "outputs": {"loss": [0.7]}})
    (there / "run/log.jsonl").write_text("\n".join(map(json.dumps, events)) + '\n{"torn')
    code, out, err = run(capsys, "report", there / "net", there / "run", "--images", 2)
    assert code == 0 and not err and "mean IU" in out
    page = (there / "run/report.html").read_text()
    assert all(f"<td class=name>{word}</td>" in page for word in ("0abc", "2026-11-27", "train x", "8"))
    assert "run 0abc\nbegun 2026-11-27\n" in (there / "run/scores.txt").read_text()
    assert "s_iter_20.caffemodel" in page and "trained for" in page
    assert page.count("<figure>") == 4 and not re.search(r"(src|href)=.?(http|//)", page)
    if importlib.util.find_spec("matplotlib"):
        assert page.count("<svg") == 2 and "training loss" in page and "test loss" in page and "learning rate" in page
    assert "mean IU" in (there / "run/scores.txt").read_text()
    assert Image.open(there / "run/pictures.png").width >= 160
    (there / "net/trainval.prototxt").write_text("")
    assert run(capsys, "report", there / "net", there / "elsewhere")[0] == 0, "trainval is no val"
    (there / "net/trainval.prototxt").unlink()
    code, _, err = run(capsys, "report", there / "net/val.prototxt", there / "elsewhere")
    assert code == 0, "the snapshots are found through the solver beside the net"
    (there / "net/other_val.prototxt").write_text("")
    code, _, err = run(capsys, "report", there / "net", there / "run")
    assert code == 2 and "2 files end in val.prototxt or test.prototxt: other_val.prototxt, val.prototxt" in err
    (there / "net/other_val.prototxt").unlink()


def test_report_without_a_snapshot(there, tmp_path, capsys):
    (tmp_path / "val.prototxt").write_text((there / "net/val.prototxt").read_text())
    code, _, err = run(capsys, "report", tmp_path, tmp_path / "run")
    assert code == 2 and "no snapshot's weights in" in err and "give --weights FILE" in err


def test_traceback_on_request(there):
    with pytest.raises(Exception, match="no such"):
        main(["score", str(there / "gone.prototxt"), "--weights", "x", "--traceback"])


@pytest.mark.parametrize(
    "words, said",
    [
        (
            ["segment", "a.png", "--net", "n", "--weights", "w", "--size", "70000x500"],
            "no side of a picture can be above",
        ),
        (["segment", "a.png", "--net", "n", "--weights", "w", "--scale", "nan"], "'nan' is not a finite number"),
        (["segment", "a.png", "--net", "n", "--weights", "w", "--threads", "9999"], "9999 threads are too many"),
        (["write", "voc-fcn8s", "nets", "--classes", "0"], "--classes 0"),
        (
            ["write", "ssd-own", "nets", "--classes", "c.txt", "--images", "photos"],
            "ssd-own takes no --images and --labels: `convert_annoset` makes databases",
        ),
    ],
)
def test_numbers_out_of_range(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code
    assert status == 2 and said in capsys.readouterr().err and not list(tmp_path.iterdir())
