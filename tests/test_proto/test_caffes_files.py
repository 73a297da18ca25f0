"""Weights files and states as Caffe writes them, of every generation; what forks add to them; real ones."""

import functools
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from demitasse.proto import messages, weights, wire
from demitasse.proto.errors import WeightsFault
from tests.test_proto.weights_cases import assert_equal_bits, content, older_net

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SHARED = Path(__file__).resolve().parents[2].parent / "shared"


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
