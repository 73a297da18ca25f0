"""HDF5Data and HDF5Output: rows across files, shuffles, restarts, and files that do not fit."""

import shutil

import numpy as np
import pytest

from demitasse.layers import hdf5_data
from demitasse.layers.backend import make_backend
from demitasse.layers.layer import layer_class
from demitasse.proto.errors import DataFault, NetError, SchemaFault, ShapeFault
from demitasse.proto.messages import LayerParameter
from tests.test_layers.data_sets import batches, layer, same

h5py = pytest.importorskip("h5py")


@pytest.fixture
def files(tmp_path):
    """Three files of 4, 1 and 3 rows; row n holds n."""
    start, lines = 0, []
    for i, rows in enumerate((4, 1, 3)):
        with h5py.File(tmp_path / f"{i}.h5", "w") as file:
            values = np.arange(start, start + rows)
            file["data"] = np.broadcast_to(values[:, None, None, None], (rows, 2, 3, 3)).astype(np.float64)
            file.create_dataset("label", data=values, compression="gzip")  # integers
            file["unused"] = 1
        start += rows
        lines.append(f"{tmp_path / str(i)}.h5\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path / "list.txt"


def made_of(files, more="", batch=3, tops=("data", "label"), seed=1):
    names = " ".join(f'top: "{name}"' for name in tops)
    return layer(
        f'type: "HDF5Data" {names} hdf5_data_param {{ source: "{files}" batch_size: {batch} {more} }}', seed=seed
    )


def rows_of(tops):
    return np.concatenate([label for *_, label in tops]).astype(int).tolist()


@pytest.mark.independent("HDF5Data")
def test_rows_come_in_order_across_files_and_epochs(files):
    tops = batches(made_of(files), 6)
    assert rows_of(tops) == (list(range(8)) * 3)[:18]
    assert all((data == label[:, None, None, None]).all() for data, label in tops)
    ((only,),) = batches(made_of(files, tops=["label"], batch=20), 1)
    assert only.tolist() == (list(range(8)) * 3)[:20]


def test_blocks_are_read_piece_by_piece(files, monkeypatch):
    monkeypatch.setattr(hdf5_data, "BLOCK", 200)  # two rows of 76 bytes
    assert rows_of(batches(made_of(files), 6)) == (list(range(8)) * 3)[:18]


def test_shuffled_files_keep_their_rows_together(files):
    made = made_of(files, "shuffle: true", batch=4)
    order = rows_of(batches(made, 12))
    epochs = [order[i : i + 8] for i in range(0, 48, 8)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(8))
        kinds = [0 if row < 4 else 1 if row < 5 else 2 for row in epoch]
        assert sorted([kinds[i] for i in range(8) if i == 0 or kinds[i] != kinds[i - 1]]) == [0, 1, 2]
    assert len({tuple(epoch) for epoch in epochs}) > 3
    assert all((data == label[:, None, None, None]).all() for data, label in batches(made, 6))


def test_restarts_and_ranks(files):
    first = made_of(files, "shuffle: true")
    batches(first, 2)
    state = first.state()
    expected = batches(first, 5)
    second = made_of(files, "shuffle: true", seed=4)
    second.load_state(state)
    assert same(batches(second, 5), expected)
    rows = []
    for rank in range(2):
        part = made_of(files, batch=2)
        part.shard(rank, 2)
        rows.append(rows_of(batches(part, 2)))
    assert rows == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_file_that_promises_more_than_it_can_hold(tmp_path):
    with h5py.File(tmp_path / "liar.h5", "w") as file:
        file.create_dataset("data", shape=(10**9, 10**6), dtype="f4", chunks=(1, 10**6))
    (tmp_path / "list.txt").write_text(str(tmp_path / "liar.h5"))
    with pytest.raises(DataFault, match="liar.h5' promises 4000000000000000 bytes of data but has only"):
        made_of(tmp_path / "list.txt", "shuffle: true", tops=["data"])


def test_mistakes_are_named(files, tmp_path):
    with pytest.raises(
        DataFault,
        match=r"list.txt:1: '.*0.h5' has no dataset 'image', the name of a top; it has data, "
        "label, unused",
    ):
        made_of(files, tops=["image"])
    with pytest.raises(ShapeFault, match=r"list.txt:1: dataset 'unused' of '.*0.h5' has shape \(\)"):
        made_of(files, tops=["data", "unused"])
    with pytest.raises(SchemaFault, match="HDF5Data does not transform"):
        layer(f'type: "HDF5Data" top: "data" transform_param {{ scale: 2 }} hdf5_data_param {{ source: "{files}" }}')
    with h5py.File(tmp_path / "1.h5", "w") as file:
        file["data"], file["label"] = np.zeros((1, 2, 3, 4)), [4]
    with pytest.raises(
        ShapeFault,
        match=r"list.txt:2: dataset 'data' of '.*1.h5' has rows of shape \(2, 3, 4\), "
        r"'.*0.h5' has \(2, 3, 3\)",
    ):
        made_of(files)
    (tmp_path / "2.h5").write_bytes((tmp_path / "2.h5").read_bytes()[:1000])
    with pytest.raises(DataFault, match="list.txt:3: '.*2.h5' is not a readable HDF5 file"):
        made_of(files)
    files.write_text("gone.h5\n")
    with pytest.raises(DataFault, match="list.txt:1: 'gone.h5' does not exist; looked for from"):
        made_of(files)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["data"] = [b"text"]
    files.write_text(str(tmp_path / "t.h5"))
    with pytest.raises(DataFault, match="does not hold numbers"):
        made_of(files, tops=["data"])


def test_a_damaged_file_is_one_line(tmp_path):
    path = tmp_path / "rows.h5"
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = np.ones((6, 2)), np.arange(6)
    whole, faults = path.read_bytes(), 0
    (tmp_path / "list.txt").write_text(str(path))
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        at = int(rng.integers(0, 900))
        damaged[at : at + 3] = rng.bytes(3)
        path.write_bytes(damaged)
        try:
            made_of(tmp_path / "list.txt").close()
        except NetError as fault:
            faults += 1
            assert "rows.h5" in str(fault) and "\n" not in str(fault)
    assert faults > 20


@pytest.mark.independent("HDF5Output")
def test_output_is_appended_and_whole_after_every_batch(tmp_path, be):
    path = tmp_path / "out.h5"
    path.write_bytes(b"old")
    spec = LayerParameter(type="HDF5Output", bottom=["a", "b"])
    spec.hdf5_output_param.file_name = str(path)
    made = layer_class("HDF5Output")(spec, 1, be)
    made.setup([(2, 3), (2,)])
    assert path.read_bytes() == b"old"
    data = np.arange(12, dtype=np.float32).reshape(4, 3)
    for i in (0, 2):
        assert made.infer([(2, 3), (2,)]) == []
        assert made.forward([be.asarray(data[i : i + 2]), be.asarray([i, i + 1])]) == []
        with h5py.File(path) as file:
            assert np.array_equal(file["data"], data[: i + 2]) and file["label"].shape == (i + 2,)
    with pytest.raises(ShapeFault, match=r"holds rows of shape \(3,\) in 'data', this batch has \(4,\)"):
        made.forward([be.zeros((2, 4)), be.zeros((2,))])
    with pytest.raises(ShapeFault, match=r"bottoms of shapes \(2, 3\) and \(3,\) need as many rows"):
        made.infer([(2, 3), (3,)])
    spec.hdf5_output_param.file_name = str(tmp_path / "nowhere" / "out.h5")
    made = layer_class("HDF5Output")(spec, 1, be)
    made.setup([(2, 3), (2,)])
    with pytest.raises(DataFault, match="nowhere/out.h5' cannot be written"):
        made.forward([be.zeros((2, 3)), be.zeros((2,))])
    spec.hdf5_output_param.file_name = ""
    with pytest.raises(SchemaFault, match="file_name is not given"):
        layer_class("HDF5Output")(spec, 1, be).setup([(2, 3), (2,)])


def test_a_full_disk_spoils_no_batch_that_is_written(tmp_path, monkeypatch):
    be, path = make_backend("generic"), tmp_path / "out.h5"
    spec = LayerParameter(type="HDF5Output", bottom=["a", "b"])
    spec.hdf5_output_param.file_name = str(path)
    made = layer_class("HDF5Output")(spec, 1, be)
    made.setup([(2, 3), (2,)])
    made.forward([be.zeros((2, 3)), be.zeros((2,))])
    before, usage = path.read_bytes(), type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 1000))
    with pytest.raises(DataFault, match="cannot take the batch: .* are free; the batches before it are whole"):
        made.forward([be.zeros((2, 3)), be.zeros((2,))])
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["out.h5"]


def test_no_output_takes_the_place_of_a_device(tmp_path):
    for name in ("/dev/null", str(tmp_path)):
        spec = LayerParameter(type="HDF5Output", bottom=["a", "b"])
        spec.hdf5_output_param.file_name = name
        with pytest.raises(SchemaFault, match="is a folder or a device: name a file"):
            layer_class("HDF5Output")(spec, 1, make_backend("generic")).setup([(2, 3), (2,)])


def test_what_is_written_can_be_read(tmp_path, files):
    spec = LayerParameter(type="HDF5Output", bottom=["a", "b"])
    spec.hdf5_output_param.file_name = str(tmp_path / "copy.h5")
    writer = layer_class("HDF5Output")(spec, 1, make_backend("generic"))
    writer.setup([(3, 2, 3, 3), (3,)])
    tops = batches(made_of(files), 3)
    for top in tops:
        writer.forward(top)
    (tmp_path / "copy.txt").write_text(str(tmp_path / "copy.h5"))
    assert same(batches(made_of(tmp_path / "copy.txt"), 3), tops)


@pytest.mark.parametrize("kind", ["external link", "link to a group", "soft link", "raw storage", "virtual"])
def test_data_in_other_files_are_not_read(tmp_path, kind):
    """A file says what is read of it, not what else is read on this machine."""
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones((4, 2))
        other["group/data"] = np.ones((4, 2))
    (tmp_path / "raw").write_bytes(bytes(64))
    top = "group/data" if kind == "link to a group" else "data"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if kind == "external link":
            file["data"] = h5py.ExternalLink("other.h5", "/secret")
        elif kind == "link to a group":
            file["group"] = h5py.ExternalLink("other.h5", "/group")
        elif kind == "soft link":
            file["data"] = h5py.SoftLink("/data")
        elif kind == "raw storage":
            file.create_dataset("data", (4, 2), "f8", external=[(str(tmp_path / "raw"), 0, 64)])
        else:
            layout = h5py.VirtualLayout((4, 2), "f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (4, 2))
            file.create_virtual_dataset("data", layout)
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a.h5'}\n")
    words = "(is a link to|lies in another file).*; store the data itself"
    with pytest.raises(DataFault, match=f"list.txt:1: .*a.h5': dataset '{top}' {words}"):
        layer(f'type: "HDF5Data" top: "{top}" hdf5_data_param {{ source: "{tmp_path / "list.txt"}" batch_size: 2 }}')


def test_datasets_in_groups_are_read_and_loops_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/data"] = np.arange(8).reshape(4, 2)
        file["group/again"] = file["group"]  # a hard link to itself
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a.h5'}\n")
    for top in ("group/data", "group/again/again/data"):
        text = f'top: "{top}" hdf5_data_param {{ source: "{tmp_path / "list.txt"}" batch_size: 2 }}'
        assert batches(layer(f'type: "HDF5Data" {text}'), 2)[1][0].tolist() == [[4, 5], [6, 7]]


def test_a_file_written_anew_while_it_is_read_is_one_line(tmp_path):
    for name, rows in (("a", 4), ("b", 4)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["data"] = np.zeros((rows, 2))
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a.h5'}\n{tmp_path / 'b.h5'}\n")
    fields = f'source: "{tmp_path / "list.txt"}" batch_size: 4 shuffle: true'
    made = layer(f'type: "HDF5Data" top: "data" hdf5_data_param {{ {fields} }}')
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["data"] = np.zeros((3, 2))
    with pytest.raises(DataFault, match="b.h5' was written anew while it was read"):
        for _ in range(4):
            made.forward([])
