"""Paths in a net: from the working directory, as Caffe has them, or else beside the prototxt."""

import os
import warnings

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError
from demitasse.proto.weights import write_mean
from tests.test_layers.data_kinds import KINDS, image_data, memory_data

READING = [kind for kind in KINDS if kind is not memory_data]


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """The folder nets, seen from the folder that it is in."""
    (tmp_path / "nets").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "nets"


def write_net(folder, kind, more=""):
    rest = kind(folder)
    assert "{ source" in rest or "param_str" in rest
    (folder / "net.prototxt").write_text(f'layer {{ name: "d" top: "data" top: "label" {rest} {more} }}\n')


def batch(path):
    net = Net(path, "TRAIN", backend=make_backend("generic"), seed=1)
    try:
        return [np.array(top) for top in net.forward().values()]
    finally:
        net.close()


@pytest.mark.parametrize("kind", READING)
def test_what_a_data_layer_reads_may_lie_beside_its_prototxt(nets, monkeypatch, kind):
    write_net(nets, kind)
    found = batch("nets/net.prototxt")
    monkeypatch.chdir(nets)
    expected = batch("net.prototxt")
    assert [top.shape for top in found] == [top.shape for top in expected] and found[0].any()
    if kind is not READING[-1]:  # its seed is another each time
        assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("kind", READING)
def test_where_it_was_looked_for(nets, kind):
    write_net(nets, kind)
    for path in nets.iterdir():
        if path.name != "net.prototxt":
            path.rename(nets.parent / f"moved_{path.name}")
    with pytest.raises(NetError) as caught:
        Plan("nets/net.prototxt", "TRAIN", backend=make_backend("generic"))
    said = str(caught.value)
    assert said.startswith("nets/net.prototxt:1:1: layer 'd'") and "\n" not in said
    if "param_str" not in (nets / "net.prototxt").read_text():
        assert said.endswith(f"; looked for from {os.getcwd()}, and beside the prototxt in nets")


def test_a_path_from_a_folder_further_up_says_where_to_go(nets, monkeypatch):
    write_net(nets, image_data)
    text = (nets / "net.prototxt").read_text().replace('source: "', 'source: "nets/')
    (nets / "net.prototxt").write_text(text)
    monkeypatch.chdir(nets)
    with pytest.raises(NetError) as caught:
        Plan("net.prototxt", "TRAIN", backend=make_backend("generic"))
    assert str(caught.value).endswith(
        f"; looked for from {nets}; from {nets.parent} it is there: cd {nets.parent} first"
    )


def test_means_and_root_folders(nets):
    write_net(nets, image_data, 'transform_param { mean_file: "mean.binaryproto" }')
    (nets / "pictures").mkdir()
    for path in nets.glob("*.png"):
        path.rename(nets / "pictures" / path.name)
    text = (nets / "net.prototxt").read_text().replace("batch_size", 'root_folder: "pictures" batch_size')
    (nets / "net.prototxt").write_text(text)
    write_mean(nets / "mean.binaryproto", np.full((1, 28, 28), 30))
    assert batch("nets/net.prototxt")[0].min() < 0


def test_two_files_of_one_name_are_told(nets):
    write_net(nets, image_data)
    (nets.parent / "list.txt").write_text("nets/0000.png 3\n")
    with pytest.warns(UserWarning, match="source: 'list.txt' is there twice: list.txt is read, not nets/list.txt"):
        assert (batch("nets/net.prototxt")[1] == 3).all()
    text = (nets / "net.prototxt").read_text()
    (nets / "net.prototxt").write_text(text.replace('"list.txt"', '"./list.txt"'))
    with pytest.warns(UserWarning, match="nets/list.txt is read, not ./list.txt"):
        assert len(set(batch("nets/net.prototxt")[1].tolist())) > 1


def test_nothing_is_said_where_there_is_one(nets, monkeypatch):
    write_net(nets, image_data)
    monkeypatch.chdir(nets)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch("net.prototxt")
        batch(str(nets / "net.prototxt"))
