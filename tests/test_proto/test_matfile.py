"""MATLAB files: the values that scipy wrote, and a ValueError for every damage."""

import io
import zlib

import numpy as np
import pytest
import scipy.io

from demitasse.proto import matfile


def saved(variables, **options):
    file = io.BytesIO()
    scipy.io.savemat(file, variables, **options)
    return file.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_values(packed):
    numbers = {
        kind: (np.arange(24) - 12).astype(kind).reshape(2, 3, 4)
        for kind in ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
    }
    cell = np.empty((2, 2), object)
    cell[0, 0], cell[1, 0], cell[0, 1], cell[1, 1] = 1.0, "two", np.ones((3, 0)), {"deep": "er"}
    struct = np.array([(1.0, "x"), (2.0, "y\u00e9")], [("number", object), ("text", object)])
    read = matfile.read(
        saved(
            {**numbers, "cell": cell, "struct": struct, "a_long_name_of_a_variable": 3, "t": "t"}, do_compression=packed
        )
    )
    for kind, values in numbers.items():
        assert read[kind].dtype == values.dtype and np.array_equal(read[kind], values)
    assert read["cell"][0] == 1 and read["cell"][1] == "two" and read["cell"][2].shape == (3, 0)
    assert read["cell"][3] == [{"deep": "er"}]
    assert [item["text"] for item in read["struct"]] == ["x", "y\u00e9"]
    assert read["struct"][1]["number"] == 2 and read["a_long_name_of_a_variable"] == 3 and read["t"] == "t"


def test_big_endian():
    """As a workstation of the nineties wrote it: one variable x = [1 2]."""
    tag = ">u4"
    body = (
        b"".join(np.array(words, tag).tobytes() for words in ([6, 8, 6, 0], [5, 8, 1, 2]))
        + np.array([0x00010001], tag).tobytes()
        + b"x\0\0\0"
        + np.array([9, 16], tag).tobytes()
        + np.array([1, 2], ">f8").tobytes()
    )
    data = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + np.array([14, len(body)], tag).tobytes() + body
    assert matfile.read(data)["x"].tolist() == [[1, 2]]


def test_what_has_no_python_value_is_none():
    assert matfile.read(saved({"s": scipy.sparse.csc_array(np.eye(3)), "x": 1}))["s"] is None


def test_arrays_are_views():
    assert not matfile.read(saved({"x": np.ones((30, 40))}))["x"].flags.owndata


def test_every_truncation_is_noticed():
    whole = saved({"x": np.ones((3, 4)), "c": {"a": "b"}})
    ends = {128, 128 + 8 + 48 + 96, len(whole)}
    for length in range(len(whole)):
        if length not in ends:
            with pytest.raises(ValueError):
                matfile.read(whole[:length])


def test_nesting_has_a_limit():
    cell = np.ones((1, 1))
    for _ in range(100):
        outer = np.empty((1, 1), object)
        outer[0, 0] = cell
        cell = outer
    with pytest.raises(ValueError, match="more than 32 deep"):
        matfile.read(saved({"c": cell}))


@pytest.mark.parametrize("packed", [False, True])
def test_damage_is_a_value_error(packed):
    rng = np.random.default_rng(0)
    cell = np.empty((1, 2), object)
    cell[0, 0], cell[0, 1] = {"name": "a", "weights": np.ones((2, 3))}, "text"
    whole = saved({"layers": cell}, do_compression=packed)
    for _ in range(2000):
        data = bytearray(whole)
        for at in rng.integers(len(data), size=rng.integers(1, 4)):
            data[at] = rng.integers(256)
        try:
            matfile.read(bytes(data))
        except ValueError:
            pass


def test_a_variable_without_end_is_not_unpacked(monkeypatch):
    bomb = zlib.compress(np.array([14, 2**32 - 1], "<u4").tobytes() + bytes(1 << 22))
    data = saved({})[:128] + np.array([15, len(bomb)], "<u4").tobytes() + bomb
    monkeypatch.setattr(matfile, "memory_left", lambda: 1 << 30)
    with pytest.raises(ValueError, match="not enough memory: a variable takes 4.3 GB, and 1.1 GB are left"):
        matfile.read(data)
    more = zlib.compress(np.array([14, 8], "<u4").tobytes() + bytes(1 << 22))  # more than it says
    data = saved({})[:128] + np.array([15, len(more)], "<u4").tobytes() + more
    with pytest.raises(ValueError):
        matfile.read(data)
