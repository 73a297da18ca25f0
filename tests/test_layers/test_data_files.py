"""Files of data layers: closed where a net fails, never mapped, known by what they are and not by their names alone."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.data.database import open_database
from demitasse.netdef.net import Net
from demitasse.proto.errors import DataFault, NetError
from tests.test_layers.data_sets import batches, layer, write_database
from tests.test_layers.test_data_processes import KINDS, ROOT

OPEN_FILES = "/proc/self/fd"
pytest.importorskip("lmdb")


def database(path, value, count=4):
    shutil.rmtree(path, ignore_errors=True)
    return write_database(path, np.full((count, 1, 8, 8), value, np.uint8), range(count))


def net(path, crop=8, more=""):
    return (
        f'layer {{ name: "d" type: "Data" top: "data" top: "label" data_param {{ source: "{path}" batch_size: 2 '
        f"backend: LMDB }} transform_param {{ crop_size: {crop} }} }}\n{more}"
    )


BROKEN = 'layer { name: "x" type: "InnerProduct" bottom: "data" top: "y" inner_product_param { num_output: 0 } }'


@pytest.mark.skipif(not os.path.isdir(OPEN_FILES), reason="open files are listed on Linux only")
@pytest.mark.parametrize("kind", KINDS)
def test_a_net_that_fails_leaves_no_file_open(tmp_path, monkeypatch, kind):
    text = f'layer {{ name: "d" top: "data" top: "label" {kind(tmp_path)} }}\n'
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(text + BROKEN)
    (tmp_path / "whole.prototxt").write_text(text)
    failures = []
    for _ in range(3):
        with pytest.raises(NetError) as failure:
            Net("net.prototxt", "TRAIN", backend=make_backend("generic"))
        failures.append(failure)  # and with it its frames, which hold the layers
        with pytest.raises(NetError) as failure:
            Net("whole.prototxt", "TRAIN", backend=make_backend("generic"), weights="missing.caffemodel")
        failures.append(failure)
    held = [os.readlink(f"{OPEN_FILES}/{name}") for name in os.listdir(OPEN_FILES) if _is_open(name)]
    assert not [path for path in held if path.startswith(str(tmp_path))]


def _is_open(name):
    return os.path.islink(f"{OPEN_FILES}/{name}")


@pytest.mark.parametrize("crop, more", [(20, ""), (8, BROKEN)])
def test_a_database_made_anew_is_read_anew(tmp_path, crop, more):
    path = database(tmp_path / "db", 1)
    with pytest.raises(NetError):
        Net(net(path, crop, more), "TEST", backend=make_backend("generic"))
    old = open_database(str(path), "source")  # somebody still reads the old one
    database(path, 200)
    made = Net(net(path), "TEST", backend=make_backend("generic"), keep="all")
    made.forward()
    assert np.unique(made.blobs["data"]).tolist() == [200]
    made.close()
    old.close()


@pytest.mark.parametrize("left", [0, 5000])
def test_a_database_cut_off_while_it_is_read_is_a_fault(tmp_path, left):
    path = database(tmp_path / "db", 1, 400)
    reader = open_database(str(path), "source")
    reader.read(0)
    os.truncate(path / "data.mdb", left)
    with pytest.raises(DataFault, match="is damaged at record .*: it ends before byte .*it was written anew while"):
        for index in range(400):
            reader.read(index)
    reader.close()


def test_two_nets_of_a_leveldb_and_one_made_anew(tmp_path):
    pytest.importorskip("plyvel")
    images = np.full((3, 1, 2, 2), 7, np.uint8)
    path = write_database(tmp_path / "level", images, range(3), "leveldb")
    text = f'type: "Data" top: "d" data_param {{ source: "{path}" batch_size: 2 }}'
    one, two = layer(text), layer(text)
    assert batches(one, 1)[0][0].max() == batches(two, 1)[0][0].max() == 7
    one.close()
    two.close()
    shutil.rmtree(path)
    write_database(path, images + 1, range(3), "leveldb")
    assert batches(layer(text), 1)[0][0].max() == 8


FULL = """
import resource, signal, sys
import numpy as np
from demitasse.layers.data.database_writer import create_database
from demitasse.proto.errors import DataFault

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with create_database("db", sys.argv[1]) as database:
        for i in range(300):
            database.put(b"%08d" % i, np.random.default_rng(i).bytes(100000))
except DataFault as fault:
    print(fault)
"""


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
@pytest.mark.parametrize("room", [100, 5_000_000])
def test_a_full_disk_leaves_one_line_and_nothing_else(tmp_path, backend, room):
    pytest.importorskip("resource")
    pytest.importorskip("lmdb" if backend == "lmdb" else "plyvel")
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", FULL, backend, str(room)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("\n") == 1
        assert "'db' cannot be written: " in done.stdout and "nothing of it is left" in done.stdout
        assert os.listdir(tmp_path) == []
