"""Weights through every format, bit for bit; every generation of .caffemodel; files equal to those Caffe wrote."""

import os
import sys
import warnings

import h5py
import numpy as np
import pytest
import scipy.io

from demitasse.proto import messages, text, weights
from demitasse.proto.errors import WeightsFault
from tests.test_proto.weights_cases import assert_equal_bits, content, older_net

ENDINGS = [".caffemodel", ".caffemodel.h5", ".npz", ".safetensors"]


def some_layers():
    rng = np.random.default_rng(0)
    odd = np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, 3.4028235e38], np.float32)
    return {
        "conv1/3x3.a": [rng.standard_normal((4, 3, 5, 2), dtype=np.float32), odd],
        "ip": [rng.standard_normal((3, 7), dtype=np.float32)],
        "big": [rng.standard_normal((300, 301), dtype=np.float32), np.zeros(0, np.float32)],
        "one": [np.float32(3.5).reshape(()), np.zeros((2, 0, 3), np.float32)],
    }


@pytest.mark.parametrize("ending", ENDINGS)
def test_round_trip(tmp_path, ending):
    path, layers = tmp_path / f"net{ending}", some_layers()
    weights.write_weights(path, layers)
    read = weights.read_weights(path)
    assert_equal_bits(read, layers)
    if ending != ".caffemodel.h5":  # HDF5 keeps names in alphabetical order
        assert list(read) == list(layers)
    assert os.listdir(tmp_path) == [path.name]


def test_arrays_of_any_order_type_and_layout_are_written_as_they_read(tmp_path):
    values = np.arange(24.0).reshape(4, 6)
    layers = {"a": [values, values.T, values[::2, 1::2], values.astype(np.float16), np.asfortranarray(values)]}
    for ending in ENDINGS:
        weights.write_weights(tmp_path / f"net{ending}", layers)
        assert_equal_bits(
            weights.read_weights(tmp_path / f"net{ending}"),
            {"a": [np.ascontiguousarray(array, np.float32) for array in layers["a"]]},
        )


@pytest.mark.parametrize("ending", [".caffemodel", ".h5"])
def test_gradients_only_when_asked(tmp_path, ending):
    path, layers = tmp_path / f"net{ending}", some_layers()
    grads = {name: [values + np.float32(1) for values in arrays] for name, arrays in layers.items()}
    weights.write_weights(path, {**layers, "plain": []}, grads=grads)
    assert_equal_bits(weights.read_weights(path), layers)
    if ending == ".h5":
        assert_equal_bits(weights.read_grads(path), grads)
    else:  # an empty gradient is not to be told from none
        full = ["conv1/3x3.a", "ip"]
        read = weights.read_grads(path)
        assert_equal_bits({name: read[name] for name in full}, {name: grads[name] for name in full})
    weights.write_weights(path, layers)
    assert weights.read_grads(path) == {}


def test_the_format_is_told_by_the_content(tmp_path):
    layers = {"ip": [np.ones((2, 3), np.float32)]}
    for ending in ENDINGS:
        weights.write_weights(tmp_path / f"net{ending}", layers)
        os.rename(tmp_path / f"net{ending}", tmp_path / "net.weights")
        assert_equal_bits(weights.read_weights(tmp_path / "net.weights"), layers)


def test_names_in_another_encoding(tmp_path):
    net = older_net()
    net.layers[1].bottom.append("caffe")
    content = net.SerializeToString().replace(b"caffe", b"caf\xe9!").replace(b"c1", b"c\xe9")
    (tmp_path / "old.caffemodel").write_bytes(content)
    try:
        read, layers = weights.read_model(tmp_path / "old.caffemodel")
    except WeightsFault:  # protobuf's own Python runtime refuses such text
        return
    assert list(layers) == ["c0", "c\ufffd"] and read.layer[1].name == "c\ufffd"
    assert list(read.layer[1].bottom) == ["caf\ufffd!"]


def test_of_two_layers_with_one_name_the_later_counts(tmp_path):
    net = messages.NetParameter()
    for value in (1, 2):
        net.layer.add(name="c").blobs.add(data=[value])
    (tmp_path / "net.caffemodel").write_bytes(net.SerializeToString())
    with pytest.warns(UserWarning, match="two layers 'c' have weights"):
        assert weights.read_weights(tmp_path / "net.caffemodel")["c"][0].tolist() == [2]


def test_nan_is_kept_with_a_warning(tmp_path):
    bad = np.ones((2, 3), np.float32)
    bad[1, 1] = np.nan
    for ending in ENDINGS:
        path = tmp_path / f"net{ending}"
        weights.write_weights(path, {"a": [np.ones(3)], "conv1": [bad]})
        with pytest.warns(UserWarning, match=r"NaN among the weights of 1 of 2 layers \(conv1\)"):
            read = weights.read_weights(path)
        assert read["conv1"][0].tobytes() == bad.tobytes()


def test_large_and_infinite_weights_are_no_nan(tmp_path):
    weights.write_weights(tmp_path / "net.caffemodel", {"a": [np.array([np.inf, -np.inf, 3e38, -3e38], np.float32)]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights.read_weights(tmp_path / "net.caffemodel")


def test_arrays_are_views_of_the_file(tmp_path):
    path, values = tmp_path / "net.caffemodel", np.arange(1 << 18, dtype=np.float32)
    weights.write_weights(path, {"a": [values]})
    read = weights.read_weights(path)["a"][0]
    assert not read.flags.owndata and not read.flags.writeable
    weights.write_weights(path, {"a": [values + 1]})  # replaces the file, not the bytes that are being read
    assert np.array_equal(read, values)


def test_an_array_that_another_layer_owns(tmp_path):
    net, _ = text.read_net(
        'layer { name: "a" param { name: "w" } param { name: "b1" } }\n'
        'layer { name: "b" param { name: "w" } param { name: "b2" } }\nlayer { name: "c" }\n'
    )
    w, b1, b2 = np.ones((2, 2), np.float32), np.zeros(2, np.float32), np.full(2, 2, np.float32)
    weights.write_weights(tmp_path / "net.h5", {"a": [w, b1], "b": [w, b2]}, net=net)
    read = weights.read_weights(tmp_path / "net.h5")
    assert read["b"][0] is None and read["b"][1].tolist() == [2, 2] and list(read) == ["a", "b"]
    groups = list(content(tmp_path / "net.h5"))
    assert groups == ["data", "data/a", "data/a/0", "data/a/1", "data/b", "data/b/1", "data/c"]
    with pytest.raises(WeightsFault, match="layer 'b' lacks an array"):
        weights.write_weights(tmp_path / "net.caffemodel", read)


# --- Other tools' files ----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_names_as_pytorch_gives_them(tmp_path, ending):
    path = tmp_path / f"net{ending}"
    weights.write_weights(path, {"x": [np.ones(1)]})
    arrays = {
        "features.0.weight": np.ones((2, 3), np.float32),
        "features.0.bias": np.zeros(2, np.float32),
        "scale": np.ones(4, np.float32),
    }
    if ending == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        safetensors = pytest.importorskip("safetensors.numpy")
        safetensors.save_file({**arrays, "half.weight": np.ones(3, np.float16)}, path)
    read = weights.read_weights(path)
    assert [values.shape for values in read["features.0"]] == [(2, 3), (2,)] and read["scale"][0].shape == (4,)
    assert ending == ".npz" or read["half"][0].dtype == np.float32


def test_safetensors_are_read_by_their_own_library(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    layers = some_layers()
    weights.write_weights(tmp_path / "net.safetensors", layers)
    loaded = safetensors.load_file(tmp_path / "net.safetensors")
    assert loaded["ip/0"].tobytes() == layers["ip"][0].tobytes() and len(loaded) == 7


def test_bfloat16(tmp_path):
    header = b'{"a.weight":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f\x00\xc0")
    assert weights.read_weights(tmp_path / "a.safetensors")["a"][0].tolist() == [1.0, -2.0]


def cells(*items):
    array = np.empty((1, len(items)), object)
    array[0, :] = items
    return array


@pytest.mark.parametrize("packed", [False, True])
def test_matconvnet_simplenn(tmp_path, packed):
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((5, 3, 2, 4)).astype(np.float32)  # width 5, height 3, 2 in, 4 out
    single = rng.standard_normal((3, 3, 2)).astype(np.float32)  # MATLAB drops the last 1
    layers = [
        {"name": "conv1_1", "type": "conv", "weights": cells(wide, np.arange(4.0).reshape(1, 4))},
        {"name": "relu1_1", "type": "relu"},
        {"name": "old", "type": "conv", "filters": single, "biases": np.ones((1, 1))},
        {"name": "fc", "type": "conv", "weights": cells(rng.standard_normal((1, 1, 3, 6)), np.ones((6, 1)))},
        {"name": "prob", "type": "softmax"},
    ]
    scipy.io.savemat(tmp_path / "net.mat", {"layers": cells(*layers), "meta": {"x": 1}}, do_compression=packed)
    read = weights.read_weights(tmp_path / "net.mat")
    assert list(read) == ["conv1_1", "old", "fc"]
    assert [values.shape for values in read["conv1_1"]] == [(4, 2, 3, 5), (4,)]
    assert read["conv1_1"][0][3, 1, 2, 4] == wide[4, 2, 1, 3] and read["conv1_1"][1].tolist() == [0, 1, 2, 3]
    assert [values.shape for values in read["old"]] == [(1, 2, 3, 3), (1,)]
    assert [values.shape for values in read["fc"]] == [(6, 3, 1, 1), (6,)]


def test_matconvnet_dagnn(tmp_path):
    params = [{"name": "conv1f", "value": np.ones((3, 2, 3, 4))}, {"name": "conv1b", "value": np.ones((4, 1))}]
    layers = [{"name": "conv1", "params": cells("conv1f", "conv1b")}, {"name": "relu1", "params": np.empty((0, 0))}]
    struct = {
        "params": np.array([tuple(p.values()) for p in params], [("name", object), ("value", object)]),
        "layers": np.array([tuple(x.values()) for x in layers], [("name", object), ("params", object)]),
    }
    scipy.io.savemat(tmp_path / "net.mat", {"net": struct})
    read = weights.read_weights(tmp_path / "net.mat")
    assert [values.shape for values in read["conv1"]] == [(4, 3, 2, 3), (4,)] and list(read) == ["conv1"]


# --- Means, single arrays, records -----------------------------------------------------------------


def test_mean(tmp_path):
    mean = np.random.default_rng(0).standard_normal((3, 4, 5), dtype=np.float32)
    weights.write_mean(tmp_path / "mean.binaryproto", mean)
    assert weights.read_mean(tmp_path / "mean.binaryproto").tobytes() == mean.tobytes()
    blob = messages.BlobProto.FromString((tmp_path / "mean.binaryproto").read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width, blob.HasField("shape")) == (1, 3, 4, 5, False)
    assert weights.read_blob(tmp_path / "mean.binaryproto").shape == (1, 3, 4, 5)
    np.save(tmp_path / "mean.npy", mean.astype(np.float64))
    assert weights.read_mean(tmp_path / "mean.npy").tobytes() == mean.tobytes()
    with pytest.raises(WeightsFault, match="channels x height x width"):
        weights.write_mean(tmp_path / "mean.binaryproto", mean[0])
    (tmp_path / "flat.binaryproto").write_bytes(weights.array_to_blobproto(mean[0]).SerializeToString())
    with pytest.raises(WeightsFault, match="channels x height x width, not 4 x 5"):
        weights.read_mean(tmp_path / "flat.binaryproto")


def test_blobproto_helpers():
    values, diff = np.random.default_rng(0).standard_normal((2, 3, 4, 5, 6), dtype=np.float32)[:2]
    blob = weights.array_to_blobproto(values, diff)
    assert list(blob.shape.dim) == [3, 4, 5, 6] and len(blob.diff) == diff.size
    back = weights.blobproto_to_array(blob)
    assert back.tobytes() == values.tobytes() and back.flags.writeable and back.flags.aligned
    with pytest.raises(WeightsFault, match="shape 7 holds 360 values"):
        blob.shape.dim[:] = [7]
        weights.blobproto_to_array(blob)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_datum_helpers(dtype):
    image = (np.random.default_rng(0).random((3, 4, 5)) * 255).astype(dtype)
    datum = weights.array_to_datum(image, label=7)
    assert datum.label == 7 and bool(datum.data) == (dtype is np.uint8)
    back = weights.datum_to_array(datum)
    assert back.dtype == dtype and np.array_equal(back, image)
    datum.width = 6
    with pytest.raises(Exception, match="a record of 3 x 4 x 6 values holds 60"):
        weights.datum_to_array(datum)


def test_h5py_missing(tmp_path, monkeypatch):
    weights.write_weights(tmp_path / "net.h5", {"a": [np.ones(1)]})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsFault, match="pip install h5py"):
        weights.read_weights(tmp_path / "net.h5")


NAMES = [
    "inception/1x1",
    "/conv_pre",
    "//",
    "/",
    "a//b",
    "./c",
    "c",
    "x/",
    "x",
    "..",
    "a/../b",
    ".",
    "x%2F",
    "x%2F%",
    "%/y",
    "conv",
]


def test_hdf5_holds_layers_of_any_name(tmp_path):
    names = [*NAMES, "conv/0", "conv/1/w", "0", "\u00e9/\u6f22", "a\0b", "\t"]
    layers = {name: [np.full(2, i), np.full(1, -i)] for i, name in enumerate(names)}
    for order in (names, names[::-1]):
        weights.write_weights(tmp_path / "n.h5", {name: layers[name] for name in order}, grads=layers)
        for read in (weights.read_weights, weights.read_grads):
            found = read(tmp_path / "n.h5")
            assert sorted(found) == sorted(names)
            for name in names:
                assert [list(array) for array in found[name]] == [list(array) for array in layers[name]], name
    with h5py.File(tmp_path / "n.h5") as file:
        assert sorted(file) == ["data", "diff"] and "data/inception/1x1/0" in file  # where Caffe would put it
