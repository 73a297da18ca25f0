"""Files that are broken, lie, or are something else: each its own clear WeightsFault, never a crash."""

import json
import os
import subprocess
import sys
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from demitasse.proto import caffemodel, files, messages, text, weights, wire
from demitasse.proto.errors import NetError, WeightsFault

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def small_model():
    net = messages.NetParameter(name="tiny")
    net.layer.add(name="data", type="Input", top=["data"])
    conv = net.layer.add(name="conv1", type="Convolution", bottom=["data"], top=["conv1"])
    conv.blobs.add(data=np.arange(54.0).tolist()).shape.dim.extend([2, 3, 3, 3])
    conv.blobs.add(data=[0.5, -0.5]).shape.dim.extend([2])
    net.layer.add(name="ip", type="InnerProduct").blobs.add(data=[1, 2, 3], num=1, channels=1, height=1, width=3)
    return net.SerializeToString()


def fault_of(read, path, content=None):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsFault) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


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


def test_hdf5_of_the_other_kind(tmp_path):
    weights.write_weights(tmp_path / "net.h5", {"a": [np.ones(1)]})
    weights.write_state(tmp_path / "state.h5", weights.SolverFile(3, "x", [np.ones(1)]))
    assert "holds the weights of a net" in fault_of(weights.read_state, tmp_path / "net.h5")
    assert "holds a solver's state" in fault_of(weights.read_weights, tmp_path / "state.h5")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["data"], file["label"] = np.ones((3, 2)), np.ones(3)
    assert "no group /data of layers" in fault_of(weights.read_weights, tmp_path / "data.h5")
    assert "not a solver's state" in fault_of(weights.read_state, tmp_path / "data.h5")
    weights.write_weights(tmp_path / "net.npz", {"a": [np.ones(1)]})
    assert ".solverstate" in fault_of(weights.read_state, tmp_path / "net.npz")
    assert "not a .binaryproto" in fault_of(weights.read_mean, tmp_path / "net.npz")


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


def test_lying_hdf5(tmp_path):
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data/conv/0", (1000000, 1000000), "<f4", chunks=(1000, 1000), compression="gzip")
    assert "/data/conv/0 promises 1,000,000,000,000 values, but the file has 0 bytes" in fault_of(
        weights.read_weights, path
    )
    with h5py.File(path, "w") as file:
        file["data/conv/0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
        file["data/conv/1"] = np.ones(3)
    assert "/data/conv/0 is a link to" in fault_of(weights.read_weights, path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["conv/0"], file["iter"], file["history/0"] = np.ones(1), np.ones(1), np.ones(1)
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
        file["iter"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/iter")
        file["history"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/history")
    assert "/data is a link to" in fault_of(weights.read_weights, path)
    assert "/iter is a link to" in fault_of(weights.read_state, path)
    with h5py.File(path, "w") as file:
        file["data/conv/0"], file["data/conv/1"] = h5py.SoftLink("/elsewhere"), np.ones(3)
    assert "/data/conv/0 is a link to /elsewhere, and links are not followed" in fault_of(weights.read_weights, path)
    with h5py.File(path, "w") as file:
        file.create_dataset("data/conv/0", (4,), "<f4", external=[(str(tmp_path / "raw"), 0, 16)])
    assert "lies in another file" in fault_of(weights.read_weights, path)
    with h5py.File(path, "w") as file:
        file["data/conv/0"] = "text"
    assert "holds no numbers" in fault_of(weights.read_weights, path)
    with h5py.File(path, "w") as file:
        file["data/conv/0"] = np.dtype("<f4")
    assert "/data/conv/0 is no array but a Datatype" in fault_of(weights.read_weights, path)
    with h5py.File(path, "w") as file:
        file["iter"], file["history/0"], file["learned_net"] = np.dtype("<i4"), np.ones(1), np.dtype("<i4")
    assert "/iter is no single number" in fault_of(weights.read_state, path)
    with h5py.File(path, "w") as file:
        file["iter"], file["history/0"], file["learned_net"] = 1, np.ones(1), np.dtype("<i4")
    assert "damaged" in fault_of(weights.read_state, path)
    with h5py.File(path, "w") as file:
        file["data/conv/999999"] = np.ones(1)
    assert "array number 999999" in fault_of(weights.read_weights, path)
    with h5py.File(path, "w") as file:
        file["iter"], file["history/0"], file["history/2"] = np.array([1]), np.ones(1), np.ones(1)
    assert "the history has gaps: its arrays are 0, 2" in fault_of(weights.read_state, path)


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


# --- Writing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, says",
    [
        ("nowhere/net.caffemodel", "there is no folder"),
        ("nowhere/net.h5", "there is no folder"),
        ("nowhere/net.npz", "there is no folder"),
        ("net.pth", "weights are not written as .pth"),
    ],
)
def test_a_file_that_cannot_be_written(tmp_path, name, says):
    with pytest.raises(WeightsFault) as caught:
        weights.write_weights(tmp_path / name, {"a": [np.ones(3)]})
    assert says in str(caught.value) and name in str(caught.value)


def test_gradients_where_there_is_no_place_for_them(tmp_path):
    with pytest.raises(WeightsFault, match="no place for gradients"):
        weights.write_weights(tmp_path / "net.npz", {"a": [np.ones(3)]}, grads={"a": [np.ones(3)]})


@pytest.mark.parametrize("ending", [".caffemodel", ".h5", ".npz", ".safetensors"])
def test_a_full_disk_leaves_the_old_file(tmp_path, ending, monkeypatch):
    path = tmp_path / f"net{ending}"
    weights.write_weights(path, {"a": [np.ones(3)]})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(WeightsFault, match="Could not write file .*: no space left on device"):
        weights.write_weights(path, {"a": [np.zeros(300)]})
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@pytest.mark.parametrize("limit", [0, 100, 3000])
@pytest.mark.parametrize("ending", [".caffemodel", ".h5", ".npz", ".safetensors"])
def test_a_disk_that_fills_up_on_the_way(tmp_path, ending, limit):
    path = tmp_path / f"net{ending}"
    weights.write_weights(path, {"a": [np.ones(3)]})
    before = path.read_bytes()
    code = (
        "import resource, signal, sys, numpy; from demitasse.proto import errors, weights\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try: weights.write_weights(sys.argv[1], {'a': [numpy.ones(2000)], 'b': [numpy.ones(20)]})\n"
        "except errors.WeightsFault as fault: print(fault)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0 and run.stdout.count("\n") == 1 and "Could not write file" in run.stdout, run.stderr
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "net.caffemodel"
    weights.write_weights(path, {"a": [np.ones(3)]})
    before = path.read_bytes()

    def chunks():
        yield b"half a file"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_chunks(path, chunks())
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "net.caffemodel").symlink_to(tmp_path / "store" / "net.caffemodel")
    weights.write_weights(tmp_path / "net.caffemodel", {"a": [np.ones(3)]})
    assert (tmp_path / "net.caffemodel").is_symlink() and os.listdir(tmp_path / "store") == ["net.caffemodel"]


def test_more_than_caffe_can_read_is_refused_before_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(caffemodel, "LIMIT", 10_000)
    weights.write_weights(tmp_path / "net.caffemodel", {"a": [np.ones(2000)]})
    before = (tmp_path / "net.caffemodel").read_bytes()
    with pytest.raises(WeightsFault, match=r"2 GB at most\): write .h5 or .safetensors instead"):
        weights.write_weights(tmp_path / "net.caffemodel", {"a": [np.ones(2000)], "b": [np.ones(1000)]})
    assert (tmp_path / "net.caffemodel").read_bytes() == before


# --- Anything at all: only NetError ever comes out -------------------------------------------------


def read_quietly(read, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(*arguments)
        except NetError as error:
            assert "\n" not in str(error)


def edited(whole):
    """Bytes changed, removed or put in at random places of a whole file."""
    edit = st.tuples(st.integers(0, len(whole)), st.integers(0, 3), st.binary(max_size=4))
    return st.lists(edit, min_size=1, max_size=4).map(lambda edits: apply(whole, edits))


def apply(whole, edits):
    for at, removed, put_in in edits:
        whole = whole[:at] + put_in + whole[at + removed :]
    return whole


@QUICK
@given(st.binary(max_size=200) | edited(small_model()))
@example(b"\xa2\x06\x06:\x04*\x02ab")
def test_any_bytes_as_weights(tmp_path, content):
    (tmp_path / "net").write_bytes(content)
    for read in (weights.read_model, weights.read_state, weights.read_mean, weights.read_grads):
        read_quietly(read, tmp_path / "net")


STATE = messages.SolverState(iter=300, learned_net="a", history=[messages.BlobProto(data=[1, 2])]).SerializeToString()
MEAN = messages.BlobProto(num=1, channels=1, height=2, width=1, data=[1, 2]).SerializeToString()


@QUICK
@given(edited(STATE) | edited(MEAN))
def test_any_bytes_as_a_state_or_mean(tmp_path, content):
    (tmp_path / "net").write_bytes(content)
    read_quietly(weights.read_state, tmp_path / "net")
    read_quietly(weights.read_mean, tmp_path / "net")


def test_any_bytes_in_other_formats(tmp_path):
    """Seeded edits: making these files anew for each example would be slow."""
    rng = np.random.default_rng(0)
    cell = np.empty((1, 1), object)
    cell[0, 0] = {"name": "conv1", "weights": np.ones((3, 3, 2, 2))}
    for name in ("packed", "plain"):
        scipy.io.savemat(tmp_path / f"{name}.mat", {"layers": cell, "x": "y"}, do_compression=name == "packed")
    for ending in (".npz", ".safetensors"):
        weights.write_weights(tmp_path / f"net{ending}", {"a": [np.ones((2, 3))], "b": [np.ones(1)]})
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for _ in range(150):
            path.write_bytes(
                apply(
                    whole,
                    [
                        (int(rng.integers(len(whole))), int(rng.integers(3)), rng.bytes(rng.integers(4)))
                        for _ in range(3)
                    ],
                )
            )
            read_quietly(weights.read_weights, path)


WORDS = [
    "layer",
    "name",
    "type",
    "{",
    "}",
    "<",
    ">",
    "[",
    "]",
    ":",
    ",",
    ";",
    '"x"',
    "'",
    '"',
    "3",
    "-1",
    "1e99",
    "0x",
    "#",
    "\n",
    " ",
    "convolution_param",
    "kernel_size",
    "include",
    "phase",
    "TRAIN",
    "nan",
    "\\",
    "layers",
    "input_dim",
    "input",
    "clip_param",
    "CONVOLUTION",
    "bottom",
    "loss_weight",
    "blobs",
    "shape",
    "dim",
    "param",
    "999999999999",
]


@QUICK
@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=80))
def test_any_text(source):
    read_quietly(text.read_net, source + "\n")
    read_quietly(text.read_solver, source + "\n")


NET = (
    'name: "n" input: "data" input_dim: [1, 3, 8, 8] layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" '
    "blobs_lr: 1 include { phase: TRAIN } convolution_param { num_output: 2 kernel_size: 3 pad: 0x1 } }\n"
)


@QUICK
@given(st.lists(st.tuples(st.integers(0, len(NET)), st.integers(0, 5), st.sampled_from(["", *WORDS])), max_size=3))
def test_any_edit_of_a_net(edits):
    read_quietly(text.read_net, apply(NET, edits) + "\n")


@QUICK
@given(st.floats(width=32), st.text(max_size=20), st.binary(max_size=20), st.integers(-(2**31), 2**31 - 1))
def test_whatever_is_printed_reads_back(number, string, data, integer):
    try:
        layer = messages.LayerParameter(name=string, loss_weight=[number])
    except UnicodeEncodeError:  # protobuf's own refusal of half a surrogate pair
        return
    layer.crop_param.axis = integer
    datum = messages.Datum(data=data)
    for message in (layer, datum):
        back, _ = text.parse(text.format(message), type(message))
        assert back.SerializeToString() == message.SerializeToString() or number != number


@pytest.mark.parametrize("ending", [".h5", ".npz", ".safetensors"])
def test_a_layer_without_a_name(tmp_path, ending):
    layers = {"": [np.ones(3, np.float32)]}
    with pytest.raises(WeightsFault, match="layer"):
        weights.write_weights(tmp_path / f"net{ending}", layers)
    assert os.listdir(tmp_path) == []
    weights.write_weights(tmp_path / "net.caffemodel", layers)
    assert weights.read_weights(tmp_path / "net.caffemodel")[""][0].tolist() == [1, 1, 1]


def test_hdf5_circles_of_hard_links_end(tmp_path):
    path = tmp_path / "n.h5"
    with h5py.File(path, "w") as file:
        file["data/conv/0"] = np.ones(3)
        file["data/conv/again"] = file["data"]
    assert "it is in a circle, or there twice" in fault_of(weights.read_weights, path)
    with h5py.File(path, "w") as file:
        file["data/g0/0"] = np.ones(3)
        for i in range(30):  # 2 ** 30 ways through it
            group = file.create_group(f"data/g{i + 1}")
            group["l"] = group["r"] = file[f"data/g{i}"]
    assert "several names (hard links)" in fault_of(weights.read_weights, path)
    with h5py.File(path, "w") as file:
        file["data/a/0"] = np.ones(3)
        file.create_group("data/b")["0"] = file["data/a/0"]
    layers = weights.read_weights(path)
    assert layers["a"][0] is layers["b"][0]  # of many names for one array, memory holds one
    with h5py.File(path, "w") as file:
        file["data/a/0"] = np.ones(3)
        file["data/a"].attrs["layer_name"] = 3
    assert "the attribute layer_name is no text" in fault_of(weights.read_weights, path)


def test_hdf5_of_a_virtual_dataset_is_refused(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.ones(4)
    layout = h5py.VirtualLayout((4,), "<f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (4,))
    with h5py.File(tmp_path / "n.h5", "w") as file:
        file.create_virtual_dataset("data/conv/0", layout)
    assert "lies in another file" in fault_of(weights.read_weights, tmp_path / "n.h5")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_npy_whose_header_is_longer_than_the_file(tmp_path, version):
    start = b"\x93NUMPY" + bytes([version, 0]) + b"\xff\xff\xff\xff" + b"{'descr': '<f4'}"
    assert "damaged .npy: its header promises" in fault_of(weights.read_blob, tmp_path / "m.npy", start)
