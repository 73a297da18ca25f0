"""Weights that cannot be written: the disk, the place, what a format holds; the old file stays whole."""

import os
import subprocess
import sys

import numpy as np
import pytest

from demitasse.proto import caffemodel, files, weights
from demitasse.proto.errors import WeightsFault

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


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
    with pytest.raises(WeightsFault, match="cannot hold gradients"):
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


@pytest.mark.parametrize("ending", [".h5", ".npz", ".safetensors"])
def test_a_layer_without_a_name(tmp_path, ending):
    layers = {"": [np.ones(3, np.float32)]}
    with pytest.raises(WeightsFault, match="layer"):
        weights.write_weights(tmp_path / f"net{ending}", layers)
    assert os.listdir(tmp_path) == []
    weights.write_weights(tmp_path / "net.caffemodel", layers)
    assert weights.read_weights(tmp_path / "net.caffemodel")[""][0].tolist() == [1, 1, 1]
