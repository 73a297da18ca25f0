"""HDF5 files of weights and states that lie, go in circles or are of another kind."""

import h5py
import numpy as np

from demitasse.proto import weights
from tests.test_proto.reading_faults import fault_of


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
