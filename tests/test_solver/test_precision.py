"""Average precision: by hand, by brute force over thresholds, and as a training and a test show it."""

import re

import numpy as np
import pytest

from demitasse.proto.errors import SolverFault
from demitasse.solver.__main__ import main
from demitasse.solver.log import Log
from demitasse.solver.precision import VERSIONS, BoxPrecision, average_precision
from demitasse.solver.solver import Solver

# Four true boxes; by score: right, wrong, right, neither, right: recall 1/4, 1/4, 2/4, 2/4, 3/4 and precision 1, 1/2,
# 2/3, 2/3, 3/4.
SCORES = np.asarray([0.5, 0.9, 0.7, 0.8, 0.6])
RIGHT = np.asarray([1, 1, 1, 0, 0])
WRONG = np.asarray([0, 0, 0, 1, 0])


@pytest.mark.parametrize(
    "version, expected",
    [
        ("Integral", (1 + 2 / 3 + 3 / 4) / 4),
        ("MaxIntegral", (1 + 3 / 4 + 3 / 4) / 4),
        ("11point", (3 * 1 + 5 * 3 / 4) / 11),  # recalls 0, 0.1, 0.2; then 0.3 to 0.7
        ("MSCOCO", (26 * 1 + 50 * 3 / 4) / 101),
    ],
)
def test_by_hand(version, expected):
    assert average_precision(SCORES, RIGHT, WRONG, 4, version) == pytest.approx(expected)


@pytest.mark.parametrize("version, points", [("11point", 11), ("MSCOCO", 101)])
def test_interpolated_precision_is_the_greatest_at_each_recall_or_more(version, points):
    rng = np.random.default_rng(1)
    scores, right = rng.permutation(50), rng.integers(0, 2, 50)
    count, pairs = int(right.sum()) + 7, []
    for threshold in range(50):
        chosen = scores >= threshold
        pairs.append((right[chosen].sum() / count, right[chosen].sum() / chosen.sum()))
    wanted = [max([p for r, p in pairs if r >= k / (points - 1) - 1e-9], default=0) for k in range(points)]
    assert average_precision(scores, right, 1 - right, count, version) == pytest.approx(np.mean(wanted))


@pytest.mark.parametrize("version", VERSIONS)
def test_all_right_is_one_and_nothing_is_none(version):
    assert average_precision(SCORES, np.ones(5), np.zeros(5), 5, version) == pytest.approx(1)
    assert average_precision(SCORES, np.zeros(5), np.ones(5), 5, version) == 0
    assert average_precision(SCORES[:0], RIGHT[:0], WRONG[:0], 5, version) == 0


def test_batches_add_up_and_classes_without_true_boxes_are_left_out():
    gathered = BoxPrecision()
    gathered.add(
        np.asarray([[-1, 1, 1, -1, -1], [-1, 2, 0, -1, -1], [0, 1, 0.9, 1, 0], [0, 2, 0.9, 0, 1]]).reshape(1, 1, -1, 5)
    )
    gathered.add(np.asarray([[-1, 1, 1, -1, -1], [-1, 2, 0, -1, -1], [0, 1, 0.8, 0, 1]]).reshape(1, 1, -1, 5))
    assert gathered.by_class("Integral") == {1: 0.5}


# A net whose "boxes" are a learned blob, so that a solver has something to do: two true boxes of class 1, one found.
NET = """
layer { name: "w" type: "Parameter" top: "w" parameter_param { shape { dim: 1 } } }
layer { name: "loss" type: "Reduction" bottom: "w" top: "loss" loss_weight: 1 include { phase: TRAIN } }
layer { name: "quiet" type: "Silence" bottom: "w" include { phase: TEST } }
layer { name: "boxes" type: "DummyData" top: "found" include { phase: TEST }
        dummy_data_param { shape { dim: 1 dim: 1 dim: 1 dim: 7 } data_filler { type: "constant" value: 1 } } }
layer { name: "true" type: "DummyData" top: "true" include { phase: TEST }
        dummy_data_param { shape { dim: 1 dim: 1 dim: 2 dim: 8 } data_filler { type: "constant" value: 1 } } }
layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "true" top: "precision" include { phase: TEST }
        detection_evaluate_param { num_classes: 3 overlap_threshold: 0 } }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 test_iter: 2 test_interval: 1
snapshot_after_train: false
eval_type: "detection" ap_version: "%s" show_per_class_result: true
"""


def test_a_training_shows_the_mean_and_each_class(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER % "MaxIntegral")
    solver = Solver("solver.prototxt", log=Log(terminal=False))
    means = solver.test()
    assert means[0]["precision"] == pytest.approx(0.5)
    shown = capsys.readouterr().err
    assert "precision: class1: 0.5" in shown and re.search(r"Test net output #0: precision = 0.5\b", shown)
    solver.close()


def test_the_command_shows_them_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER % "Integral")
    with_weights = Solver("solver.prototxt", log=Log(terminal=False))
    with_weights.net.save("w.caffemodel")
    with_weights.close()
    assert (
        main(["test", "net.prototxt", "--weights", "w.caffemodel", "--iterations", "3", "--ap-version", "11point"]) == 0
    )
    shown = capsys.readouterr().err
    assert "precision: class1: 0.545" in shown and "precision = 0.545" in shown
    assert "Batch 0, precision" not in shown


@pytest.mark.parametrize("change", [("detection", "segmentation"), ("Integral", "Sum")])
def test_unknown_words_are_told(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text((SOLVER % "Integral").replace(*change))
    with pytest.raises(SolverFault, match=f"'{change[1]}' is not known: .*{change[0]}"):
        Solver("solver.prototxt", log=Log(terminal=False))
