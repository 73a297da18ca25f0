"""Files are replaced whole; what is no file stays what it is; what a missing file may have been."""

import os
import stat
import subprocess
import sys

import pytest

from demitasse.netdef import tools
from demitasse.netdef.cli import run
from demitasse.proto import files, weights
from demitasse.proto.errors import WeightsFault

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NET = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 1 dim: 3 dim: 3 } } }\n'


@pytest.fixture
def source(tmp_path):
    weights.write_weights(tmp_path / "a.caffemodel", {"c": [[1.0, 2.0]]})
    return tmp_path / "a.caffemodel"


def test_a_fifo_stays_one_and_gets_the_bytes(tmp_path, source):
    fifo, want = tmp_path / "out", tmp_path / "want.npz"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # there before the writer looks
    tools.convert(str(source), str(want))
    with files.replacing(fifo) as temporary:
        temporary.write_bytes(want.read_bytes())
    assert os.read(reader, 1 << 16) == want.read_bytes()
    os.close(reader)
    assert stat.S_ISFIFO(os.stat(fifo).st_mode) and sorted(os.listdir(tmp_path)) == ["a.caffemodel", "out", "want.npz"]


@pytest.mark.parametrize("name", ["x.caffemodel", "x.h5", "x.npz", "x.safetensors"])
def test_a_fifo_that_nobody_reads_is_refused_and_stays(tmp_path, source, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeightsFault, match="Could not write file .*: it is a fifo that nobody reads"):
        tools.convert(str(source), str(tmp_path / name))
    assert stat.S_ISFIFO(os.stat(tmp_path / name).st_mode)
    with pytest.raises(WeightsFault, match="not a regular file"):  # nor is it waited for
        weights.read_weights(tmp_path / name)


def test_a_device_stays_one(tmp_path, source, capsys):
    null, net = tmp_path / "null", tmp_path / "net.prototxt"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        open(null, "wb").close()
    except PermissionError:
        pytest.skip("making a device node takes root, and a folder that allows them")
    net.write_text(NET)
    (tmp_path / "link.svg").symlink_to(null)
    assert run(["convert", str(source), str(null)]) == 0
    assert run(["upgrade", str(net), str(null)]) == 0
    assert run(["draw", str(net), str(tmp_path / "link.svg")]) == 0
    assert stat.S_ISCHR(os.stat(null).st_mode) and (tmp_path / "link.svg").is_symlink()


def test_a_pipe_as_output_takes_the_text(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    command = [sys.executable, "-m", "netdef", "upgrade", str(tmp_path / "net.prototxt"), "/dev/stdout"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0 and 'type: "Input"' in done.stdout


def test_a_folder_that_cannot_be_is_told_with_what_is_in_its_way(tmp_path):
    (tmp_path / "file").write_text("old")
    for folder in ("file", "file/below/it"):
        with pytest.raises(WeightsFault, match=f"{folder}: .*/file is a file: choose another one$"):
            files.write_text(tmp_path / folder / "x", "text")
    with pytest.raises(WeightsFault, match="null (byte|character)"):
        files.make_folder(f"{tmp_path}/\0")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    for name in ("link", "dangling"):
        files.write_text(tmp_path / name, "text")
        assert (tmp_path / name).is_symlink() and (tmp_path / name).read_text() == "text"
    assert sorted(os.listdir(tmp_path)) == ["dangling", "link", "new", "there"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine, other = tmp_path / f".a_iter_7.h5.{dead.pid}.tmp", tmp_path / f".b.{dead.pid}.tmp"
    alive = tmp_path / f".a_iter_8.h5.{os.getpid()}.tmp"
    for path in (mine, other, alive):
        path.write_text("half")
    files.remove_leftovers(tmp_path / "a_iter")
    assert not mine.exists() and other.exists() and alive.exists()
    files.write_text(tmp_path / "b", "whole")
    assert not other.exists() and (tmp_path / "b").read_text() == "whole"


def test_a_folder_as_output_is_refused(tmp_path):
    with pytest.raises(WeightsFault, match="Could not write file .*: is a directory"):
        files.write_text(tmp_path, "text")


@pytest.mark.parametrize(
    "missing, there, hint",
    [
        ("trian.prototxt", ["train.prototxt", "train.caffemodel"], "train.prototxt"),
        ("train.prototxt", ["train.caffemodel", "train.py"], None),
        ("train.prototext", ["train.prototxt"], "train.prototxt"),
        ("Train.prototxt", ["train.prototxt"], "train.prototxt"),
        ("fcn", ["fcn.caffemodel"], "fcn.caffemodel"),
        ("fcn.caffemodel", ["fcn.caffemodel.h5"], "fcn.caffemodel.h5"),
        ("a.npz", [], None),
    ],
)
def test_the_file_that_may_be_meant_is_of_its_kind(tmp_path, missing, there, hint):
    for name in there:
        (tmp_path / name).touch()
    assert files.near_file(tmp_path / missing) == (f" (did you mean '{hint}'?)" if hint else "")
