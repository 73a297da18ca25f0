"""Databases themselves: every record of an LMDB, damaged files, growing, failed and killed writers, LevelDB."""

import os
import subprocess
import sys

import numpy as np
import pytest

from demitasse.layers.data.database import open_database
from demitasse.layers.data.database_writer import create_database
from demitasse.proto.errors import DataFault
from tests.test_layers.data_sets import batches, write_database
from tests.test_layers.database_layers import data, images

lmdb = pytest.importorskip("lmdb")


def test_a_cut_off_lmdb_is_a_fault_and_not_the_end_of_the_process(tmp_path):
    path = write_database(tmp_path / "db", images(200, height=30, width=30), range(200))
    size = os.path.getsize(path / "data.mdb")
    os.truncate(path / "data.mdb", size // 2)
    with pytest.raises(DataFault, match="db' is not a readable LMDB: it is cut off: it has .* bytes"):
        data(path)


def records(seed, count):
    """Keys and values of all sizes: inside a page, on pages of their own, several megabytes."""
    rng = np.random.default_rng(seed)
    largest = (10, 1000, 5000, 100000)
    return [
        (b"%08d" % i, rng.bytes(int(rng.integers(0, largest[int(rng.integers(0, len(largest)))]))))
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 40, 3000])
def test_every_record_is_the_librarys(tmp_path, count):
    """Also after changes, which leave free pages and two generations of the tree behind."""
    given = dict(records(count, count))
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 30) as handle:
        for part in (0, 1):
            with handle.begin(write=True) as transaction:
                for i, (key, value) in enumerate(given.items()):
                    if i % 2 == part:
                        transaction.put(key, value)
        with handle.begin(write=True) as transaction:
            for key in list(given)[3::7]:
                transaction.delete(key)
                del given[key]
    with open_database(str(tmp_path / "db"), "") as database:
        assert list(database) == sorted(given.items()) and database.count == len(given)
        there = sorted(given.items())
        for index in (len(there) - 1, 0, len(there) // 2, len(there) // 3, len(there) + 1):
            assert database.read(index) == there[index % len(there)]


def test_a_damaged_lmdb_is_a_fault_and_not_the_end_of_the_process(tmp_path):
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        for key, value in records(1, 120):
            database.put(key, value)
    file = tmp_path / "db" / "data.mdb"
    whole = file.read_bytes()
    rng = np.random.default_rng(2)
    read = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(int(rng.integers(1, 6))):
            page = int(rng.integers(0, len(whole) // 4096)) if rng.random() < 0.5 else int(rng.integers(0, 4))
            at = page * 4096 + int(rng.integers(0, 200))
            damaged[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x10\x27\0\0", rng.bytes(4)])
        file.write_bytes(damaged)
        try:
            with open_database(str(tmp_path / "db"), "source") as database:
                read += len(list(database))
                database.read(100)
        except DataFault as fault:
            assert str(tmp_path / "db") in str(fault)
    assert read > 1000


def test_the_map_grows(tmp_path):
    value = bytes(5 << 20)
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        for i in range(30):
            database.put(b"%04d" % i, value)  # 150 MB; the map begins with 64
    reader = open_database(str(tmp_path / "db"), "")
    assert reader.count == 30 and len(reader.read(29)[1]) == 5 << 20
    reader.close()


def test_a_failed_conversion_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), create_database(str(tmp_path / "db"), "lmdb") as database:
        for i in range(1500):
            database.put(b"%04d" % i, b"x")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_until_it_is_whole_a_database_has_another_name(tmp_path):
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        database.put(b"k", b"v")
        (name,) = os.listdir(tmp_path)
        assert name.startswith(".db.") and name.endswith(f".{os.getpid()}.tmp")
    assert os.listdir(tmp_path) == ["db"]
    with pytest.raises(DataFault, match="db' exists already; remove it"):
        create_database(str(tmp_path / "db"), "lmdb")
    with pytest.raises(DataFault, match="backend 'mysql' is not known"):
        create_database(str(tmp_path / "other"), "mysql")
    with pytest.raises(DataFault, match="the folder '.*nowhere' does not exist"):
        create_database(str(tmp_path / "nowhere" / "db"), "lmdb")


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "plyvel", None)
    os.mkdir(tmp_path / "level")
    (tmp_path / "level" / "CURRENT").write_text("MANIFEST-000001\n")
    with pytest.raises(DataFault, match="is a LevelDB database, which needs the Python package plyvel: pip install"):
        data(tmp_path / "level")


def test_leveldb(tmp_path):
    pytest.importorskip("plyvel")
    path = write_database(tmp_path / "level", images(5), [10, 11, 12, 13, 14], "leveldb")
    one, two = data(path), data(path)
    assert np.concatenate([label for _, label in batches(one, 6)]).tolist() == ([10, 11, 12, 13, 14] * 3)[:12]
    two.load_state({"seed": 1, "item": 13})
    assert batches(two, 2)[1][1].tolist() == [10, 11]
    two.load_state({"seed": 1, "item": 1})
    assert batches(two, 1)[0][1].tolist() == [11, 12]
    one.close()
    two.close()
    with create_database(str(tmp_path / "none"), "leveldb"):
        pass
    with pytest.raises(DataFault, match="the LevelDB '.*none' is empty"):
        data(tmp_path / "none")


def test_what_a_killed_writer_has_left_is_removed_by_the_next(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left, other = tmp_path / f".db.00ff00ff.{int(done.stdout)}.tmp", tmp_path / f".db.00ff00ff.{os.getpid()}.tmp"
    for folder in (left, other):
        folder.mkdir()
        (folder / "data.mdb").write_bytes(b"half")
    with create_database(str(tmp_path / "db"), "lmdb") as database:
        database.put(b"0", b"x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [other.name, "db"]  # that process lives
