"""The small SSD: its files, its data, and a short training with its report."""

import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import caffe
from demitasse.models import ssd_demo
from demitasse.models.__main__ import main
from demitasse.models.data import scenes
from demitasse.models.data.annotations import read_annotations
from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import DataFault

ROOT = Path(__file__).resolve().parents[2]


def test_the_files_are_those_that_write_makes():
    for name, text in ssd_demo.files().items():
        assert (ROOT / "models/ssd_demo" / name).read_text() == text, "run: python -m models write ssd-demo models"


def test_each_prior_has_its_place_and_scores():
    with closing(Plan(ssd_demo.net("deploy"), "TEST")) as plan:
        shapes = {name: value.shape for name, value in plan.newest.items()}
        priors = shapes["priors"][2] // 4
        assert priors == 4 * (12 * 12 + 6 * 6 + 3 * 3)
        assert shapes["loc"] == (1, priors * 4) and shapes["conf"] == (1, priors * 9)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return scenes.write(tmp_path_factory.mktemp("scenes"), 6, 2, (96, 96))


def data_net(drawn, options):
    net = caffe.NetSpec()
    net.data, net.label = caffe.layers.Python(
        module="box_layers", layer="VOCBoxDataLayer", ntop=2, param_str=repr({"voc_dir": str(drawn), **options})
    )
    return Net(net.to_proto(), "TRAIN")


def test_labels_are_ssd_s_rows_in_shares_of_the_image(drawn):
    net = data_net(drawn, {"split": "val", "batch_size": 2, "most": 8})
    tops = net.forward()
    rows = tops["label"]
    assert tops["data"].shape == (2, 3, 96, 96) and rows.shape == (1, 1, 16, 8)
    for image, name in enumerate((drawn / "ImageSets/Main/val.txt").read_text().split()):
        _, objects = read_annotations(drawn / "Annotations" / f"{name}.xml")
        own = rows[0, 0][rows[0, 0, :, 0] == image]
        assert [scenes.CLASSES[int(label)] for label in own[:, 1]] == [each.name for each in objects]
        corners = [np.asarray(each.corners) + [0, 0, 1, 1] for each in objects]
        np.testing.assert_allclose(own[:, 3:7] * 96, np.asarray(corners).reshape(-1, 4), atol=1e-4)
    net.close()


def test_a_mirrored_image_has_mirrored_boxes(drawn):
    net, seen = data_net(drawn, {"split": "train", "seed": 3}), {}
    for _ in range(40):
        tops = net.forward()
        taken = tops["label"][0, 0][tops["label"][0, 0, :, 0] == 0]
        assert (taken[:, 3] < taken[:, 5]).all()
        seen.setdefault(net.plan.by_name["data"].layer.user.delivered[0], []).append((tops["data"], taken))
    pairs = [(first, other) for many in seen.values() for first in many for other in many]
    turned = [(a, b) for a, b in pairs if np.array_equal(a[0], b[0][..., ::-1])]
    assert turned
    for (_, one), (_, other) in turned:
        np.testing.assert_allclose(one[:, [3, 5]], 1 - other[:, [5, 3]], atol=1e-6)
    net.close()


def test_too_many_objects_are_told(drawn):
    with pytest.raises(DataFault, match="objects: give the option most"):
        net = data_net(drawn, {"split": "train", "most": 1, "randomize": False})
        for _ in range(6):
            net.forward()


def test_a_short_training_and_its_report(tmp_path, monkeypatch, capsys, drawn):
    from demitasse.solver.__main__ import main as solver_main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    for name, text in ssd_demo.files().items():
        text = text.replace("'seed': 1337", f"'seed': 1337, 'voc_dir': '{drawn}', 'train': 6, 'val': 2")
        for old, new in (("max_iter: 1000", "max_iter: 2"), ("test_iter: 10", "test_iter: 1"), ("500", "2")):
            text = text.replace(old, new)
        for size in (8, 10):
            text = text.replace(f"'batch_size': {size}", "'batch_size': 2")
        (tmp_path / "net" / name).write_text(text)
    monkeypatch.chdir(tmp_path / "net")
    assert solver_main(["train", "solver.prototxt", "--log", "../log.jsonl"]) == 0
    assert re.search(r"Test net output #0: precision = ", capsys.readouterr().err)
    monkeypatch.chdir(tmp_path)
    assert main(["report", "net", "run", "--log", "log.jsonl", "--images", "2"]) == 0
    assert "mean" in capsys.readouterr().out
    page = (tmp_path / "run/report.html").read_text()
    assert page.count("<img") == 4 and "Average precision" in page and "training loss" in page
    assert (tmp_path / "run/pictures.png").stat().st_size > 1000


def test_own_boxes_are_trained_on_and_found(drawn, tmp_path, monkeypatch, capsys):
    """The commands of docs/forks.md, on a folder as PASCAL VOC lays it out."""
    pytest.importorskip("lmdb")
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("".join(f"{name}\n" for name in scenes.CLASSES[1:]))
    main(["write", "ssd-own", "nets", "--classes", "names.txt", "--data", "boxes", "--resize", "64"])
    Path("boxes").mkdir()
    label_map = ["--label_map_file", "nets/ssd_own/labelmap.prototxt"]
    for split, name in (("train", "train"), ("val", "val")):
        main(["convert_annoset", str(drawn), split, f"boxes/{name}_lmdb", *label_map])
    solver = caffe.get_solver("nets/ssd_own/solver.prototxt")
    solver.step(1)
    assert np.isfinite(solver.net.blobs["loss"].data) and solver.net.blobs["data"].data.shape == (8, 3, 64, 64)
    solver.net.save("w.caffemodel")
    image = next((Path(drawn) / "JPEGImages").glob("*.jpg"))
    main(["detect", "nets/ssd_own/deploy.prototxt", "w.caffemodel", str(image), "--threshold", "0.02"])
    assert "objects in 1 of 1 images" in capsys.readouterr().out
