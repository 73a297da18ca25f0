"""Weights through every format, bit for bit; every generation of .caffemodel; files equal to those Caffe wrote."""

import functools
import json
import os
import re
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from demitasse.proto import messages, text, weights, wire
from demitasse.proto.errors import WeightsFault

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SHARED = Path(__file__).resolve().parents[2].parent / "shared"
ENDINGS = [".caffemodel", ".caffemodel.h5", ".npz", ".safetensors"]


@functools.cache
def caffes_files():
    """{(case, file name): bytes} of what real Caffe wrote."""
    cases = json.loads((GOLDEN / "solver.json").read_text())
    with np.load(GOLDEN / "solver.npz", allow_pickle=False) as packed:
        content = packed["files"].tobytes()
    return {
        (case, name): content[offset : offset + length]
        for case in cases
        for name, (offset, length) in cases[case]["files"].items()
    }


def cases_ending(ending):
    return [pytest.param(case, name, id=f"{case}/{name}") for case, name in caffes_files() if name.endswith(ending)]


def written(tmp_path, case, name):
    path = tmp_path / name
    path.write_bytes(caffes_files()[case, name])
    return path


def some_layers():
    rng = np.random.default_rng(0)
    odd = np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, 3.4028235e38], np.float32)
    return {
        "conv1/3x3.a": [rng.standard_normal((4, 3, 5, 2), dtype=np.float32), odd],
        "ip": [rng.standard_normal((3, 7), dtype=np.float32)],
        "big": [rng.standard_normal((300, 301), dtype=np.float32), np.zeros(0, np.float32)],
        "one": [np.float32(3.5).reshape(()), np.zeros((2, 0, 3), np.float32)],
    }


def assert_equal_bits(read, expected):
    assert {name: [values.shape for values in arrays] for name, arrays in read.items()} == {
        name: [values.shape for values in arrays] for name, arrays in expected.items()
    }
    for name, arrays in expected.items():
        for mine, theirs in zip(read[name], arrays, strict=True):
            assert mine.dtype == np.float32 and mine.tobytes() == theirs.tobytes(), name


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


# --- What real Caffe wrote -------------------------------------------------------------------------


@pytest.mark.parametrize("case, name", cases_ending(".caffemodel"))
def test_a_caffemodel_is_written_as_caffe_writes_it(tmp_path, case, name):
    path = written(tmp_path, case, name)
    net, layers = weights.read_model(path)
    described = messages.NetParameter.FromString(path.read_bytes())
    for layer in described.layer:
        assert [list(blob.data) for blob in layer.blobs] == [
            values.ravel().tolist() for values in layers.get(layer.name, [])
        ]
        layer.ClearField("blobs")
    assert net == described
    weights.write_weights(tmp_path / "ours.caffemodel", layers, net=net)
    assert (tmp_path / "ours.caffemodel").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("case, name", cases_ending(".solverstate"))
def test_a_solverstate_is_written_as_caffe_writes_it(tmp_path, case, name):
    path = written(tmp_path, case, name)
    state = weights.read_state(path)
    assert state.iter == 10 and state.learned_net == "snap_iter_10.caffemodel"
    weights.write_state(tmp_path / "ours.solverstate", state)
    assert (tmp_path / "ours.solverstate").read_bytes() == path.read_bytes()


def content(path):
    """Everything that HDF5 keeps of a file: groups, and type, shape and bytes of the datasets."""
    found = {}

    def visit(name, item):
        found[name] = (
            "group"
            if isinstance(item, h5py.Group)
            else (item.id.get_type().get_size(), item.dtype.str, item.shape, item[()].tobytes())
        )

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


@pytest.mark.parametrize("case, name", cases_ending(".caffemodel.h5"))
def test_hdf5_weights_are_written_as_caffe_writes_them(tmp_path, case, name):
    path = written(tmp_path, case, name)
    net, layers = weights.read_model(written(tmp_path, case, name[:-3]))  # its binary twin
    weights.write_weights(tmp_path / "ours.h5", layers, net=net)
    assert content(tmp_path / "ours.h5") == content(path)
    shared = "ip2" if case == "sgd_shared_params" else None  # which Caffe leaves out
    assert_equal_bits(weights.read_weights(path), {name: layers[name] for name in sorted(layers) if name != shared})


@pytest.mark.parametrize("case, name", cases_ending(".solverstate.h5"))
def test_an_hdf5_solverstate_is_written_as_caffe_writes_it(tmp_path, case, name):
    path = written(tmp_path, case, name)
    state, twin = weights.read_state(path), weights.read_state(written(tmp_path, case, name[:-3]))
    assert (state.iter, state.current_step) == (twin.iter, twin.current_step)
    assert_equal_bits({"": state.history}, {"": twin.history})
    weights.write_state(tmp_path / "ours.h5", state)
    assert content(tmp_path / "ours.h5") == content(path)


# --- Older and other generations -------------------------------------------------------------------


def older_net():
    net = messages.NetParameter(name="old")
    v0 = net.layers.add(bottom=["data"], top=["c0"])
    v0.layer.name, v0.layer.type, v0.layer.num_output = "c0", "conv", 2
    v0.layer.blobs.add(data=[1, 2], num=2, channels=1, height=1, width=1)
    v1 = net.layers.add(name="c1", type=messages.V1LayerParameter.CONVOLUTION)
    v1.blobs.add(data=[3, 4, 5], diff=[6, 7, 8], num=1, channels=1, height=1, width=3)
    v1.blobs.add(double_data=[0.1, 1e300, -2], shape=messages.BlobShape(dim=[3, 1]))
    v1.blobs.add(data=[9, 10])  # neither shape nor sizes
    net.layers.add(name="relu", type=messages.V1LayerParameter.RELU)
    return net


def test_v0_and_v1_layers_legacy_sizes_and_doubles(tmp_path):
    path = tmp_path / "old.caffemodel"
    path.write_bytes(older_net().SerializeToString())
    net, layers = weights.read_model(path)
    assert list(layers) == ["c0", "c1"] and not net.layers
    assert [layer.type for layer in net.layer] == ["Convolution", "Convolution", "ReLU"]
    assert [values.shape for values in layers["c1"]] == [(1, 1, 1, 3), (3, 1), (2,)]
    assert layers["c0"][0].shape == (2, 1, 1, 1) and layers["c0"][0].ravel().tolist() == [1, 2]
    assert layers["c1"][1].ravel().tolist() == [np.float32(0.1), np.inf, -2]


def test_layers_of_an_earlier_generation_are_written_in_todays(tmp_path):
    path = tmp_path / "old.caffemodel"
    net = older_net()
    del net.layers[1].blobs[1:]
    path.write_bytes(net.SerializeToString())
    layers = weights.read_weights(path)
    weights.write_weights(tmp_path / "new.caffemodel", layers, net=net)
    new = messages.NetParameter.FromString((tmp_path / "new.caffemodel").read_bytes())
    assert [(layer.name, layer.type, len(layer.blobs)) for layer in new.layer] == [
        ("c0", "Convolution", 1),
        ("c1", "Convolution", 1),
        ("relu", "ReLU", 0),
    ]
    assert list(new.layer[1].blobs[0].shape.dim) == [1, 1, 1, 3]


def test_unpacked_arrays(tmp_path):
    """Each value with a tag of its own, as a schema without `packed` would write them."""
    values = np.arange(1000, dtype=np.float32)
    singles = b"".join(wire.tag(5, wire.FIXED32) + value.tobytes() for value in values)
    doubles = b"".join(wire.tag(8, wire.FIXED64) + np.float64(value).tobytes() for value in values)
    packed = wire.tag(5, wire.BYTES) + wire.varint(8) + values[:2].tobytes()
    shape = messages.BlobProto(shape=messages.BlobShape(dim=[1000])).SerializeToString()
    unpacked_dims = wire.tag(7, wire.BYTES) + wire.varint(5) + b"\x08\x02\x08\xe8\x07"
    for blob in (singles + shape, shape + doubles):
        assert np.array_equal(wire.read_blob(blob, 0, len(blob))[0], values)
    mixed = packed + singles[10:] + shape
    assert np.array_equal(wire.read_blob(mixed, 0, len(mixed))[0], values)
    both = unpacked_dims + singles + singles
    assert wire.read_blob(both, 0, len(both))[0].shape == (2, 1000)


def forked_schema():
    """Today's schema with fields that a fork has added everywhere."""
    file = descriptor_pb2.FileDescriptorProto()
    messages.NetParameter.DESCRIPTOR.file.CopyToProto(file)
    for message in file.message_type:
        if message.name in ("NetParameter", "LayerParameter", "BlobProto", "BlobShape"):
            message.field.add(name="forked_text", number=9001, label=1, type=9)
            message.field.add(name="forked_int", number=9002, label=1, type=3)
            message.field.add(name="forked_float", number=9003, label=1, type=2)
            message.field.add(name="forked_double", number=9004, label=1, type=1)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


def test_fields_that_only_a_fork_knows_are_skipped(tmp_path):
    net = forked_schema()(name="fork")
    blob = net.layer.add(name="c", type="Forked").blobs.add(data=[1, 2, 3, 4, 5, 6])
    blob.shape.dim.extend([2, 3])
    for message in (net, net.layer[0], blob, blob.shape):
        message.forked_text, message.forked_int, message.forked_float, message.forked_double = "x", -5, 2.5, 1e-300
    path = tmp_path / "fork.caffemodel"
    path.write_bytes(net.SerializeToString())
    assert_equal_bits(weights.read_weights(path), {"c": [np.arange(1, 7, dtype=np.float32).reshape(2, 3)]})


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


# --- Real files ------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="real weights are not here")
def test_real_weights_read_as_protobuf_reads_them():
    paths = sorted((SHARED / "weights").rglob("*.caffemodel"))
    assert len(paths) >= 12
    for path in paths:
        net = messages.NetParameter.FromString(path.read_bytes())
        layers = weights.read_weights(path)
        described = {layer.name: layer for layer in [*net.layers, *net.layer] if layer.blobs}
        assert list(layers) == list(described), path
        for name, layer in described.items():
            for blob, values in zip(layer.blobs, layers[name], strict=True):
                assert np.array_equal(np.array(blob.data, np.float32), values.ravel(), equal_nan=True)
                assert values.shape == tuple(blob.shape.dim or [blob.num, blob.channels, blob.height, blob.width])


@pytest.mark.skipif(not SHARED.is_dir(), reason="real weights are not here")
def test_real_states_and_means():
    found = {path.name: weights.read_state(path) for path in sorted((SHARED / "weights").rglob("*.solverstate*"))}
    assert found["cifar10_quick_iter_5000.solverstate.h5"].iter == 5000
    assert [len(state.history) for name, state in found.items() if name.startswith("snapshot")] == [23, 23]
    assert all(state.iter == int(re.search(r"iter_(\d+)", name)[1]) for name, state in found.items())
    assert weights.read_mean(SHARED / "weights/imagenet/imagenet_mean.binaryproto").shape == (3, 256, 256)


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


def test_hdf5_as_caffe_leaves_a_layer_whose_name_begins_with_a_slash(tmp_path):
    with h5py.File(tmp_path / "n.h5", "w") as file:
        file["data/conv/0"], file["conv_pre/0"], file["conv_pre/1"] = np.ones(3), np.ones(2), np.zeros(1)
    assert {name: len(some) for name, some in weights.read_weights(tmp_path / "n.h5").items()} == {
        "conv": 1,
        "/conv_pre": 2,
    }


@pytest.mark.parametrize("kind, dtype", list(enumerate(["<f8", "<f4", "<f2", "<i4", "<u4"])))
def test_raw_values_as_nvidias_caffe_and_opencv_write_them(tmp_path, kind, dtype):
    values = np.array([[1, 2, 60000], [0, 7, 5]], dtype)
    net = messages.NetParameter()
    blob = net.layer.add(name="c", type="InnerProduct").blobs.add()
    blob.shape.dim.extend([2, 3])
    blob.raw_data_type = blob.raw_diff_type = kind
    blob.raw_data, blob.raw_diff = values.tobytes(), (values + 1).tobytes()
    assert blob.SerializeToString().count(bytes([10 << 3, kind])) and 12 << 3 | 2 in blob.SerializeToString()
    (tmp_path / "n.caffemodel").write_bytes(net.SerializeToString())
    assert_equal_bits(weights.read_weights(tmp_path / "n.caffemodel"), {"c": [values.astype(np.float32)]})
    assert_equal_bits(weights.read_grads(tmp_path / "n.caffemodel"), {"c": [(values + 1).astype(np.float32)]})
    np.testing.assert_array_equal(weights.blobproto_to_array(blob), values)
    weights.write_weights(tmp_path / "n.npz", weights.read_weights(tmp_path / "n.caffemodel"))
    blob.raw_data = b"abc"
    (tmp_path / "n.caffemodel").write_bytes(net.SerializeToString())
    with pytest.raises(WeightsFault, match="3 bytes are no whole number of values"):
        weights.read_weights(tmp_path / "n.caffemodel")
