"""Nets written as Caffe writes them."""

import pytest

from demitasse.netdef.caffe_export import written
from tests.test_netdef import goldens
from tests.test_netdef.texts import SMALL, blob, build, conv, layer

SNAPSHOTS = sorted((goldens.ROOT.parent / "shared" / "golden" / "solver").glob("*/snapshots/*.caffemodel"))
needs_snapshots = pytest.mark.skipif(not SNAPSHOTS, reason="needs ../shared/golden/solver")


def layers(text, phase="TEST"):
    return {each.name: each for each in written(build(text, phase).plan).layer}


def test_values_read_twice_go_through_a_split():
    found = layers(SMALL)
    assert list(found) == ["data", "label", "c1", "r1", "c1_r1_0_split", "c2", "sum", "loss"]
    assert list(found["c1_r1_0_split"].top) == ["c1_r1_0_split_0", "c1_r1_0_split_1"]
    assert list(found["c1_r1_0_split"].bottom) == ["c1"] == list(found["r1"].top)
    assert list(found["c2"].bottom) == ["c1_r1_0_split_0"]
    assert list(found["sum"].bottom) == ["c1_r1_0_split_1", "c2"]


def test_a_loss_on_the_way_goes_first():
    found = layers(blob() + layer("Power", "p", "data", more="loss_weight: 3") + layer("ReLU", "r", "p"))
    split = found["p_p_0_split"]
    assert list(split.loss_weight) == [3, 0] and not found["p"].loss_weight
    assert list(found["r"].bottom) == ["p_p_0_split_1"]


def test_what_building_adds():
    found = layers(SMALL, "TRAIN")
    assert {each.phase for each in found.values()} == {0}
    assert list(found["loss"].loss_weight) == [1]
    statistics = layers(blob() + layer("BatchNorm", "bn", "data") + conv("c", "bn"))
    assert [param.lr_mult for param in statistics["bn"].param] == [0, 0, 0] and not statistics["c"].param
    assert [list(each.shape.dim) for each in statistics["c"].blobs] == [[4, 3, 3, 3], [4]]


def test_what_is_written_is_the_same_net():
    net = build(SMALL)
    again = build(net.to_message(), weights={name: [p.data for p in params] for name, params in net.params.items()})
    assert float(again.forward()["loss"]) == float(net.forward()["loss"])


@needs_snapshots
@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_files_equal_caffes_byte_for_byte(path, tmp_path, monkeypatch):
    monkeypatch.chdir(path.parents[1])  # the data file is named from there
    net = build("net.prototxt", "TRAIN", weights=path)
    net.save(tmp_path / path.name)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    net.close()
