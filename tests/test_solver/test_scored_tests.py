"""Tests during a training of a net that segments: the same numbers as `models score` gives of the same weights."""

import json
import re

import numpy as np
import pytest

from demitasse.models.__main__ import main as models
from demitasse.models.evaluate import Evaluation
from demitasse.solver.__main__ import main as solver
from demitasse.solver.pictures import row_of
from demitasse.solver.score import METRICS
from tests.test_models import minis
from tests.test_solver import small


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """nets/own, for ten small images of 24x30 with labels of three classes; its tests come every two iterations."""
    monkeypatch.chdir(tmp_path)
    minis.folder(tmp_path, names=[f"{i}.png" for i in range(10)])
    words = "write own nets --images images --labels labels --classes classes.txt --iterations 8 --resize 20"
    assert models(words.split()) == 0
    return tmp_path


def test_the_scores_are_those_of_models_score_to_the_digit(folder, capsys):
    assert solver("train nets/own/solver.prototxt --log log.jsonl --keep-best mean_iu".split()) == 0
    lines = capsys.readouterr().err
    assert "The best by mean_iu (" in lines and "): nets/own/snapshot/train_iter_" in lines
    events = [json.loads(line) for line in open("log.jsonl")]
    scored = [event for event in events if event["event"] == "scores"]
    assert [event["iteration"] for event in scored] == [2, 4, 6, 8]
    for event in scored:
        evaluation = Evaluation(
            "nets/own/val.prototxt", f"nets/own/snapshot/train_iter_{event['iteration']}.caffemodel"
        )
        for _ in evaluation:
            pass
        result = evaluation.scores()["score"]
        assert evaluation.count == 2 and event["head"] == "score" and event["net"] == 0
        assert [event[name] for name in METRICS] == [getattr(result, name) for name in METRICS]
        names = evaluation.names(evaluation.heads[0])
        assert list(event["class_iu"]) == names
        np.testing.assert_array_equal(np.array(list(event["class_iu"].values()), float), result.class_iu)
        assert f"    Test net scores (score): {result}" in lines
        evaluation.close()
    assert len(re.findall(r"Test net output #0: loss = ", lines)) == 4, "Caffe's lines stay"
    assert all(f"{name} " in lines.split("IU by class (score): ")[1].splitlines()[0] for name in names)


def test_a_net_with_one_label_an_image_has_no_such_scores(tmp_path, monkeypatch):
    from demitasse.solver.solver import Solver

    monkeypatch.chdir(tmp_path)
    log = small.Lines()
    trained = Solver(small.write(tmp_path, "test_iter: 1 test_interval: 4"), device="generic", log=log)
    trained.step(1)
    trained.close()
    assert log.tests and not log.heads


def test_tests_give_pictures_to_listeners_that_want_them(folder):
    from demitasse.solver.log import Log
    from demitasse.solver.solver import Solver

    class Album:
        pictures_wanted = 2

        def __init__(self):
            self.pages = []

        def __call__(self, event):
            pass

        def pictures(self, iteration, index, head, rows):
            self.pages.append((iteration, index, head, rows))

    album = Album()
    trained = Solver("nets/own/solver.prototxt", device="generic", log=Log(terminal=False, listeners=[album]))
    trained.step(3)
    trained.close()
    ((iteration, index, head, rows),) = album.pages
    assert (iteration, index, head) == (2, 0, "score") and len(rows) == 2
    evaluation = Evaluation("nets/own/val.prototxt", "nets/own/snapshot/train_iter_2.caffemodel")
    for example, row in zip(evaluation, rows, strict=True):
        np.testing.assert_array_equal(row, row_of(example.picture, example.truth["score"], example.predicted["score"]))
    evaluation.close()
