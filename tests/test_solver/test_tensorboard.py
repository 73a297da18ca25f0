"""The events of a log as TensorBoard's scalars, read back from the file."""

import struct

import numpy as np
import pytest

from demitasse.solver.__main__ import main as solver
from demitasse.solver.log import Log
from demitasse.solver.solver import Solver
from demitasse.solver.tensorboard import TensorBoard, scalars
from tests.test_solver import small

TESTS = "display: 2 max_iter: 4 test_iter: 1 test_interval: 2"
BASE = small.SOLVER.replace("max_iter: 20", "")


def test_scalars_of_events():
    train = {"event": "train", "seconds": 1.0, "iteration": 5, "loss": 0.5, "lr": 0.1, "outputs": {"loss": 0.6}}
    assert scalars(train) == {"train/loss": 0.5, "train/lr": 0.1}
    test = {"event": "test", "seconds": 1.0, "iteration": 5, "net": 1, "outputs": {"a": [0.5], "map": [1.0, 2.0]}}
    assert scalars(test) == {"test1/a": 0.5}
    heads = {"event": "scores", "net": 0, "head": "score", "mean_iu": 0.4, "class_iu": {"sky": 0.5, "car": None}}
    assert scalars(heads) == {"test0/score/mean_iu": 0.4, "test0/score/class_iu/sky": 0.5}
    assert scalars({"event": "run", "iteration": 0}) == {}


def test_a_listener_gets_every_event(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    events = []
    trained = Solver(small.write(tmp_path, TESTS, base=BASE), log=Log(terminal=False, listeners=[events.append]))
    trained.solve()
    trained.close()
    assert [event["event"] for event in events if event["event"] in ("run", "train", "test", "snapshot")] == [
        *("run", "test", "train", "test", "train", "snapshot", "test")
    ]


def test_the_event_file_holds_the_curve(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    monkeypatch.chdir(tmp_path)
    assert solver(["train", small.write(tmp_path, TESTS, base=BASE), "--tensorboard", "board"]) == 0
    (file,) = (tmp_path / "board").iterdir()
    data, at, points = file.read_bytes(), 0, {}
    while at < len(data):  # length, its checksum, the event, its checksum
        (length,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + length])
        for value in event.summary.value:
            points.setdefault(value.tag, []).append(event.step)
        at += 16 + length
    assert points["train/loss"] == points["train/lr"] == [0, 2]
    assert points["test0/loss"] == points["test0/accuracy"] == [0, 2, 4]


def test_pictures_are_in_the_event_file(tmp_path):
    pytest.importorskip("tensorboardX")
    board = TensorBoard(tmp_path)
    Log(terminal=False, listeners=[board]).pictures(6, 0, "score", [np.zeros((3, 20, 3), np.uint8)])
    board.close()
    data = next(tmp_path.iterdir()).read_bytes()
    assert b"test0/score/0" in data and b"\x89PNG" in data
