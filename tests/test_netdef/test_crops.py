"""Crop without crop_param: told on every build, and cut by the coordinates where that is asked for."""

import contextlib
import warnings

import numpy as np
import pytest

import caffe
from demitasse.netdef.__main__ import main as netdef
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import GraphFault
from demitasse.solver.__main__ import main as solver
from demitasse.solver.solver import Solver
from tests.test_netdef.texts import blob, build, conv, layer

OLD = (
    blob("data", (1, 3, 10, 12))
    + conv("c", "data", param="pad: 7")
    + layer("Crop", "one", "c data")
    + conv("d", "data", kernel=1, param="pad: 4")
    + layer("Crop", "two", "d data")
    + layer("Crop", "said", "c data", more="crop_param { axis: 2 }")
    + layer("Eltwise", "sum", "one two")
)
DATA = """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 1 dim: 3 dim: 10 dim: 12 } shape { dim: 1 dim: 1 dim: 10 dim: 12 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
"""
TRAINED = DATA + conv("c", "data", param="pad: 7") + layer("Crop", "crop", "c data")
TRAINED += layer("SoftmaxWithLoss", "loss", "crop label")


@contextlib.contextmanager
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_one_line_names_the_layers_and_their_offsets():
    with pytest.warns(UserWarning) as told:
        build(OLD)
    assert len(told) == 1
    assert str(told[0].message).startswith("3:1: Crop without crop_param cuts from offset 0 on")
    assert "ask for another: 'one' 6, 'two' 4; write crop_param { offset: ... }, or" in str(told[0].message)


def test_auto_crop_cuts_by_the_coordinates():
    with quiet():
        net = build(OLD, auto_crop=True, keep="all")
    x = np.random.RandomState(0).standard_normal((1, 3, 10, 12))
    net.forward({"data": x})
    for crop, source, offset in (("one", "c", 6), ("two", "d", 4), ("said", "c", 0)):
        expected = net.blobs[source][:, :, offset : offset + 10, offset : offset + 12]
        assert np.array_equal(net.blobs[crop], expected), crop
    assert [list(spec.crop_param.offset) for spec in net.to_message().layer if spec.type == "Crop"] == [[6], [4], []]


def test_nothing_is_said_where_nothing_is_wrong():
    with quiet():
        Plan(blob() + conv("c", "data", param="pad: 1") + layer("Crop", "crop", "c data"))
        Plan(blob() + blob("x", (1, 3, 4, 4)) + layer("Crop", "crop", "data x"))  # of no common origin


def test_auto_crop_where_there_is_no_offset():
    with pytest.raises(GraphFault, match=r"^3:1: layer 'crop' \(Crop\): .*no common ancestor"):
        Plan(blob() + blob("x", (1, 3, 4, 4)) + layer("Crop", "crop", "data x"), auto_crop=True)


def test_by_every_door(tmp_path, capsys):
    net, plan = tmp_path / "net.prototxt", tmp_path / "solver.prototxt"
    net.write_text(TRAINED)
    plan.write_text(f'net: "{net}" base_lr: 0.01 lr_policy: "fixed" max_iter: 1 snapshot_after_train: false')
    for door in (
        lambda **options: caffe.Net(str(net), caffe.TEST, **options),
        lambda **options: Solver(plan, **options),
        lambda **options: Plan(net, **options),
    ):
        with pytest.warns(UserWarning, match="'crop' 6;"):
            door()
        with quiet():
            door(auto_crop=True)
    with pytest.warns(UserWarning, match="'crop' 6;"):
        caffe.SGDSolver(str(plan))
    assert solver(["train", str(plan)]) == 0
    first = capsys.readouterr().err.splitlines()[0]  # a line of the log
    assert first.startswith("W") and "'crop' 6;" in first
    with quiet():
        assert netdef(["show", "--auto-crop", str(net)]) == 0
        assert solver(["train", "--auto-crop", str(plan)]) == 0
        assert solver(["time", "--auto-crop", "--iterations", "1", str(net)]) == 0
    said = capsys.readouterr()
    assert "Crop crop: offset 6 is right" in said.out and "'crop' 6;" not in said.err
