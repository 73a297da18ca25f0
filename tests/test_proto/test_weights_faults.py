"""Files that are broken, lie, or are something else: each its own clear WeightsFault, never a crash."""

import json
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io

from demitasse.proto import files, messages, weights, wire
from demitasse.proto.errors import WeightsFault
from tests.test_proto.reading_faults import fault_of
from tests.test_proto.weights_cases import small_model


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "the file is empty (0 bytes)"),
        (b"this is not a model\xff\xfe" * 10, "none of Caffe's binary files"),
        (b"junk", "a text file; a weights file (.caffemodel"),
        (
            b"layer { name: 'data' type: 'Input' }",
            "a prototxt, the text that describes a net or a solver; a weights file",
        ),
        (b"# my net\nname: 'x'", "a prototxt"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page, not the file it should be"),
        (b"\n  <HTML><head>", "a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 5\n", "a git-lfs pointer"),
        (b"\x1f\x8b\x08\x00" + bytes(99), "a gzip archive: unpack it first"),
        (b"\x80\x02}q\x00.", "a Python pickle"),
        (b"\x93NUMPY\x01\x00" + bytes(99), "a .npy file with one array"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG image"),
        (b"MATLAB 7.3 MAT-file" + bytes(600), "save it with save(..., '-v7')"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "damaged or truncated HDF5 file"),
        (b"PK\x03\x04" + bytes(99), "damaged or truncated .npz"),
        (b"\xff" * 500, "none of Caffe's binary files"),
        (bytes(500), "none of Caffe's binary files"),
        (messages.NetParameter(name="bare").SerializeToString(), "there is no layer in it"),
        (
            messages.SolverState(iter=7, learned_net="a.caffemodel").SerializeToString(),
            "this file holds a solver's state: give the .caffemodel",
        ),
        (
            messages.BlobProto(num=1, channels=1, height=1, width=1, data=[1]).SerializeToString(),
            "this file holds a single array (a mean): give the .caffemodel",
        ),
        (messages.BlobProto(data=[1], shape=messages.BlobShape(dim=[1])).SerializeToString(), "a single array"),
    ],
)
def test_a_file_that_holds_no_weights(tmp_path, content, says):
    assert says in fault_of(weights.read_weights, tmp_path / "net.caffemodel", content)


@pytest.mark.parametrize(
    "content, says",
    [
        (small_model(), "this file holds the weights of a net: give the .solverstate"),
        (b"", "the file is empty"),
        (b"base_lr: 0.1", "a prototxt"),
        (b"\x20\x01", "not a solver state: there is no iteration in it"),
        (messages.SolverState(iter=7, history=[messages.BlobProto(data=[1, 2])]).SerializeToString()[:-3], "truncated"),
    ],
)
def test_a_file_that_holds_no_state(tmp_path, content, says):
    assert says in fault_of(weights.read_state, tmp_path / "x.solverstate", content)


@pytest.mark.parametrize("read", [weights.read_weights, weights.read_state, weights.read_mean])
def test_a_file_that_cannot_be_opened(tmp_path, read):
    (tmp_path / "fcn8s.caffemodel").write_bytes(b"x")
    message = fault_of(read, tmp_path / "fcn8.caffemodel")
    assert message.startswith("Could not open file") and "(did you mean 'fcn8s.caffemodel'?)" in message
    assert "Could not open file" in fault_of(read, tmp_path)
    assert "not a regular file" in fault_of(read, "/dev/null")


def test_every_truncation_is_noticed(tmp_path):
    """Except between two layers, where what is left is a whole file."""
    whole, path = small_model(), tmp_path / "net.caffemodel"
    ends = {at for _, _, at, _, _ in wire.fields(whole, 0, len(whole))} | {len(whole)}
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        if length in ends and length > 6:
            weights.read_weights(path)
            continue
        with pytest.raises(WeightsFault) as caught:
            weights.read_weights(path)
        if length > 20 and length not in ends:
            assert f"truncated at byte {length}" in str(caught.value)
    path.write_bytes(whole[:-5])
    assert "after layer 'conv1'" in fault_of(weights.read_weights, path)


@pytest.mark.parametrize("ending", [".h5", ".npz", ".safetensors"])
def test_truncated_files_of_other_formats(tmp_path, ending):
    path = tmp_path / f"net{ending}"
    weights.write_weights(path, {"a": [np.ones((30, 30))], "b": [np.ones(3)]})
    whole = path.read_bytes()
    for length in np.linspace(1, len(whole) - 1, 40).astype(int):
        fault_of(weights.read_weights, path, whole[:length])


def lying_blob(**fields):
    net = messages.NetParameter()
    net.layer.add(name="before").blobs.add(data=[1])
    blob = messages.BlobProto(data=[1, 2, 3], **fields)
    net.layer.add(name="liar").blobs.append(blob)
    return net.SerializeToString()


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"shape": messages.BlobShape(dim=[1000000, 1000000])}, "an array of shape 1000000 x 1000000 holds 3 values"),
        ({"shape": messages.BlobShape(dim=[2**62, 4])}, "holds 3 values"),
        ({"shape": messages.BlobShape(dim=[-1, -3])}, "shape -1 x -3 holds 3 values"),
        ({"shape": messages.BlobShape(dim=[1] * 33 + [3])}, "shape of 34 axes holds 3 values"),
        ({"shape": messages.BlobShape()}, "holds 3 values"),
        ({"num": 3}, "shape 3 x 0 x 0 x 0 holds 3 values"),
        ({"num": -1, "channels": -1, "height": 1, "width": 3}, "shape -1 x -1 x 1 x 3 holds 3 values"),
    ],
)
def test_a_shape_that_lies(tmp_path, fields, says):
    message = fault_of(weights.read_weights, tmp_path / "net.caffemodel", lying_blob(**fields))
    assert says in message and "after layer 'before'" in message and "damaged at byte" in message


def npy(shape, data=b"", kind="<f4"):
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "member, says",
    [
        (npy((10**6, 10**6)), "promises shape (1000000, 1000000)"),
        (npy((3,), bytes(8)), "promises shape (3,)"),
        (npy((-3, -1), bytes(12)), "promises shape (-3, -1)"),
        (npy((1,), bytes(8), "|O"), "holds no numbers"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "damaged or truncated .npz"),
        (b"", "damaged or truncated .npz"),
    ],
)
def test_lying_npz(tmp_path, member, says):
    with zipfile.ZipFile(tmp_path / "net.npz", "w") as archive:
        archive.writestr("conv/0.npy", member)
    assert says in fault_of(weights.read_weights, tmp_path / "net.npz")


def test_arrays_that_unpack_to_more_than_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "memory_left", lambda: 1 << 28)
    path = tmp_path / "net.npz"
    np.savez_compressed(path, a=np.zeros((300, 1 << 20), np.uint8))
    assert "not enough memory: an array in it takes 315 MB, and 268 MB are left" in fault_of(weights.read_weights, path)
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("data/conv/0", data=np.zeros((75, 1 << 20), np.float32), compression="gzip")
    assert "not enough memory" in fault_of(weights.read_weights, tmp_path / "net.h5")


def test_a_header_that_numpy_cannot_cut_into_words(tmp_path):
    header = b"{'descr': '<f4', 'shape': (1,),\n(((".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "net.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    assert "damaged or truncated .npz" in fault_of(weights.read_weights, tmp_path / "net.npz")


def test_zip_archives_of_other_kinds(tmp_path):
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"x")
    assert "a PyTorch file" in fault_of(weights.read_weights, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", b"x")
    assert "a zip archive without arrays" in fault_of(weights.read_weights, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/0.npy", npy((1,), bytes(4)))
        archive.writestr("a.weight.npy", npy((1,), bytes(4)))
    assert "layer 'a' has array 0 twice" in fault_of(weights.read_weights, path)


@pytest.mark.parametrize(
    "entry, says",
    [
        ({"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4]}, "does not fit its 4 bytes"),
        ({"dtype": "F32", "shape": [10**6], "data_offsets": [0, 4 * 10**6]}, "truncated: 'a' ends at byte"),
        ({"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}, "does not fit"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}, "does not fit"),
        ({"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}, "damaged .safetensors"),
        ({"shape": [1]}, "damaged .safetensors"),
        ([1], "damaged .safetensors"),
        ({"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}, "damaged .safetensors"),
        ({"dtype": "F32", "shape": [0.5, 2], "data_offsets": [0, 4]}, "damaged .safetensors"),
    ],
)
def test_lying_safetensors(tmp_path, entry, says):
    header = json.dumps({"a": entry}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(8)
    assert says in fault_of(weights.read_weights, tmp_path / "net.safetensors", content)


def test_deeply_nested_safetensors(tmp_path):
    header = b'{"a":' + b"[" * 100000
    fault_of(weights.read_weights, tmp_path / "n.safetensors", len(header).to_bytes(8, "little") + header)


def test_mat_of_another_kind(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"x": np.ones(3)})
    assert "not a MatConvNet network" in fault_of(weights.read_weights, tmp_path / "x.mat")
    scipy.io.savemat(tmp_path / "x.mat", {"layers": np.ones(3)})
    assert "not laid out like a MatConvNet network" in fault_of(weights.read_weights, tmp_path / "x.mat")
    whole = (tmp_path / "x.mat").read_bytes()
    assert "damaged .mat: truncated" in fault_of(weights.read_weights, tmp_path / "x.mat", whole[:-20])
    assert "damaged .mat: the header" in fault_of(weights.read_weights, tmp_path / "x.mat", whole[:100])


@pytest.mark.parametrize("version", [1, 2, 3])
def test_npy_whose_header_is_longer_than_the_file(tmp_path, version):
    start = b"\x93NUMPY" + bytes([version, 0]) + b"\xff\xff\xff\xff" + b"{'descr': '<f4'}"
    assert "damaged .npy: its header promises" in fault_of(weights.read_blob, tmp_path / "m.npy", start)
