"""The small Faster R-CNN: it learns a scene, and finds what is in it."""

from contextlib import closing
from pathlib import Path

import numpy as np

from demitasse.layers.boxes import iou
from demitasse.models import rcnn_demo
from demitasse.models.data import scenes
from demitasse.models.detect import Detector
from demitasse.proto import text
from demitasse.solver.solver import Solver

ITERATIONS, SIDE = 120, 96
FEWEST = 3  # of five objects, which overlap: how many are found by then depends on the last bits of every number
ROOT = Path(__file__).resolve().parents[2]


def test_the_files_are_those_that_write_makes():
    for name, written in rcnn_demo.files().items():
        shown = (ROOT / "models/rcnn_demo" / name).read_text(encoding="utf-8")
        assert shown == written, "run: python -m models write rcnn-demo models"


def test_it_learns_a_scene_end_to_end_and_finds_its_objects(tmp_path):
    train = rcnn_demo.net("train", voc_dir=str(tmp_path / "scenes"), train=1, val=1, mirror=False)
    (tmp_path / "train.prototxt").write_text(text.format(train))
    (tmp_path / "deploy.prototxt").write_text(text.format(rcnn_demo.net("deploy")))
    param = rcnn_demo.solver()
    param.train_net, param.iter_size, param.max_iter = str(tmp_path / "train.prototxt"), 1, ITERATIONS
    param.snapshot, param.display, param.snapshot_prefix = ITERATIONS, 0, str(tmp_path / "rcnn")
    param.average_loss = 5
    with closing(Solver(param)) as solver:
        solver.step(5)
        before = solver.smoothed_loss
        solver.step(ITERATIONS - 5)
        assert solver.smoothed_loss < 0.3 * before
    image, _, objects = scenes.draw_objects(1, 0, (SIDE, SIDE))
    detector = Detector(
        tmp_path / "deploy.prototxt", tmp_path / f"rcnn_iter_{ITERATIONS}.caffemodel", threshold=0.3, short_side=SIDE
    )
    found = detector(image)
    overlaps = {}
    for kind, x1, y1, x2, y2 in objects:
        boxes = np.array([each.box for each in found if each.label == kind]).reshape(-1, 4)
        overlap = iou(np, boxes, np.array([[x1, y1, x2 + 1, y2 + 1.0]])).max(initial=0)
        overlaps[scenes.CLASSES[kind], x1, y1] = overlap
    assert len(objects) == 5 and sum(overlap > 0.5 for overlap in overlaps.values()) >= FEWEST, overlaps
