"""Layers of one name: built, as in Caffe, while no more than one of them has weights."""

import numpy as np
import pytest

import caffe
from demitasse.proto.weights import read_model, read_weights
from tests.test_netdef.texts import blob, build, conv, layer

CROPS = (
    blob()
    + conv("c", "data", param="pad: 2")
    + layer("Crop", "crop", "c data", "a", "crop_param { offset: 2 }")
    + layer("Crop", "crop", "c data", "b", "crop_param { offset: 1 }")
    + layer("Eltwise", "sum", "a b")
)
# a name of three, the second of which has weights
MIXED = blob() + layer("ReLU", "same", "data", "r") + conv("same", "r", tops="c") + layer("TanH", "same", "c", "t")
X = np.random.RandomState(3).standard_normal((1, 3, 8, 8))


def test_crops_of_one_name():
    net = build(CROPS)
    y = net.forward({"data": X})
    c = net.forward({"data": X}, end="c")["c"]
    np.testing.assert_allclose(y["sum"], c[:, :, 2:, 2:] + c[:, :, 1:9, 1:9])


@pytest.mark.parametrize("ending", [".caffemodel", ".h5", ".npz", ".safetensors"])
def test_weights_go_where_they_belong(tmp_path, ending):
    net, other = build(MIXED), build(MIXED, seed=8)
    assert list(net.params) == ["same"] and len(net.params["same"]) == 2
    assert net.layer_names == ["data", "same", "same", "same"]
    path = tmp_path / f"w{ending}"
    net.save(path)
    weights = read_weights(path)
    assert [a.shape for a in weights["same"]] == [(4, 3, 3, 3), (4,)]
    assert other.load(path).missing == []
    expected = net.forward({"data": X})["t"]
    assert np.array_equal(other.forward({"data": X})["t"], expected)
    if ending == ".caffemodel":
        message, _ = read_model(path)
        assert [spec.type for spec in message.layer] == ["Input", "ReLU", "Convolution", "TanH"]
    third = build(MIXED, seed=9)
    third.share_with(net)
    assert np.array_equal(third.forward({"data": X})["t"], expected)


def test_names_in_a_run_mean_the_first_as_in_pycaffe(tmp_path):
    net = build(MIXED)
    assert list(net.forward({"data": X}, end="same")) == ["r"]
    assert list(net.forward({"data": X}, end=2)) == ["c"]
    path = tmp_path / "net.prototxt"
    path.write_text(MIXED)
    facade = caffe.Net(str(path), caffe.TEST)
    assert list(facade.forward(data=X, end="same")) == ["r"]
    assert list(facade.forward(data=X)) == ["t"]
    assert [len(view.blobs) for view in facade.layers] == [0, 0, 2, 0]
    assert facade.layer_dict["same"].type == "TanH"  # the last one, as Caffe's index has it
    assert len(facade.params["same"]) == 2 and facade.params["same"][0].data.shape == (4, 3, 3, 3)


def test_data_layers_of_one_name_keep_their_own_state():
    dummy = "dummy_data_param { shape { dim: 1 dim: 2 } data_filler { type: 'uniform' } }"
    net = build(layer("DummyData", "data", "", "a", dummy) + layer("DummyData", "data", "", "b", dummy))
    for number, one in enumerate(net.layers):
        one.state = lambda number=number: {"place": number}
        one.load_state = lambda state, one=one: setattr(one, "seen", state)
    state = net.state()
    assert state["layers"] == {"data": {"place": 0}, "data #2": {"place": 1}}
    net.load_state(state)
    assert [one.seen for one in net.layers] == [{"place": 0}, {"place": 1}]
