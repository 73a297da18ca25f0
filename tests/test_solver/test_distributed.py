"""Two MPI ranks train to the weights of one process with iter_size 2."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from demitasse.proto.errors import SolverFault
from demitasse.proto.weights import read_state, read_weights
from demitasse.solver import distributed
from tests.test_solver import small

MPIRUN = next(
    (
        str(path)
        for path in [Path(sys.executable).with_name("mpirun"), shutil.which("mpirun")]
        if path and Path(path).exists()
    ),
    None,
)

NET = """
layer { name: "data" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "data.txt" batch_size: 2 SHUFFLE } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { name: "w" } param { lr_mult: 2 }
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "again" type: "Convolution" bottom: "conv" top: "again" param { name: "w" } param { lr_mult: 0 }
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "ip" type: "InnerProduct" bottom: "again" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture
def folder(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the data are in HDF5")
    pytest.importorskip("mpi4py", reason="several ranks need mpi4py")
    if not MPIRUN:
        pytest.skip("there is no mpirun")
    rng = np.random.default_rng(5)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["data"], file["label"] = rng.normal(size=(10, 3, 5, 5)), rng.integers(0, 3, 10)
    (tmp_path / "data.txt").write_text("data.h5\n")
    return tmp_path


def train(folder, prefix, fields="", ranks=1, shuffle=False, words=()):
    base = small.SOLVER.replace('"snap"', f'"{prefix}"')
    small.write(folder, fields, NET.replace("SHUFFLE", "shuffle: true" if shuffle else ""), base)
    launcher = [MPIRUN, "-n", str(ranks)] if ranks > 1 else []
    done = subprocess.run(
        [*launcher, *small.command("train", "solver.prototxt", "--device", "generic", *words)],
        cwd=folder,
        env=small.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


def largest_difference(folder, one, other):
    """Of all weights and histories, relative to the largest value of their array."""
    pairs = [
        (a, b)
        for name, arrays in read_weights(folder / f"{one}.caffemodel").items()
        for a, b in zip(arrays, read_weights(folder / f"{other}.caffemodel")[name], strict=True)
    ]
    pairs += zip(
        read_state(folder / f"{one}.solverstate").history,
        read_state(folder / f"{other}.solverstate").history,
        strict=True,
    )
    return max(float(np.abs(a - b).max()) / max(1e-6, float(np.abs(a).max())) for a, b in pairs)


@pytest.mark.parametrize(
    "fields, shuffle",
    [
        ("weight_decay: 0.01", False),
        ('type: "Adam" clip_gradients: 0.05 average_loss: 3', True),
    ],
)
def test_two_ranks_are_iter_size_2(folder, fields, shuffle):
    assert train(folder, "one", fields + " iter_size: 2 display: 5", shuffle=shuffle)[0] == 0
    code, err = train(folder, "two", fields + " display: 5", ranks=2, shuffle=shuffle)
    assert code == 0 and err.count("Optimization Done.") == 1  # one of them speaks
    # Not to the bit: one process adds the second pass to the first product by product, two ranks add their sums.
    assert largest_difference(folder, "one_iter_20", "two_iter_20") < 1e-5


def test_two_ranks_go_on_where_they_stopped_with_the_same_bits(folder):
    assert train(folder, "two", "snapshot: 8", ranks=2, shuffle=True)[0] == 0
    whole = (folder / "two_iter_20.caffemodel").read_bytes()
    code, _ = train(folder, "two", ranks=2, shuffle=True, words=["--snapshot", "two_iter_8.solverstate"])
    assert code == 0 and (folder / "two_iter_20.caffemodel").read_bytes() == whole


def test_a_mistake_ends_all_ranks(folder):
    code, err = train(folder, "two", "iter_size: 0", ranks=2)
    assert code != 0 and err.count("iter_size is 0") == 1


# -- without MPI ---------------------------------------------------------------------------------------


def test_without_a_launcher_there_is_one_rank(monkeypatch):
    for name in distributed.SIZES:
        monkeypatch.delenv(name, raising=False)
    ranks = distributed.launched_ranks()
    assert (ranks.rank, ranks.size) == (0, 1) and ranks.agree(0.5, 1) == (0.5, 1) and ranks.gather("x") == ["x"]


@pytest.mark.filterwarnings("ignore:suspicious MPI")
def test_a_launcher_of_another_mpi_is_said(monkeypatch):
    pytest.importorskip("mpi4py", reason="several ranks need mpi4py")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    with pytest.raises(SolverFault, match="3 processes were launched, but MPI sees 1"):
        distributed.launched_ranks()


def test_gradients_lie_in_one_array_in_the_order_of_backward(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "BUCKET_BYTES", 4 * 10)
    backend = make_backend("generic")
    data = (
        'layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param { '
        'shape { dim: 2 dim: 3 dim: 5 dim: 5 } shape { dim: 2 } data_filler { type: "gaussian" } '
        'data_filler { type: "constant" value: 1 } } }\n'
    )
    net = Net(data + NET[NET.index('layer { name: "conv"') :], "TRAIN", backend=backend)
    buckets = distributed.Buckets(net, backend)
    ip, conv, again = (net.params[name] for name in ("ip", "conv", "again"))
    # The shared weights are complete when the lower of their two layers is; the frozen bias has no gradient.
    sizes = {index: [len(part) for part in parts] for index, parts in buckets.ready_at.items()}
    assert sizes == {4: [ip[0].count], 1: [3 + conv[0].count, 3]}
    assert np.shares_memory(again[0].grad, conv[0].grad) and again[1].grad is None
    net.forward()
    net.backward()
    assert ip[0].grad.any() and conv[0].grad.any()
    parts = [part for index in sorted(buckets.ready_at, reverse=True) for part in buckets.ready_at[index]]
    assert np.array_equal(np.concatenate(parts), np.concatenate([p.grad.ravel() for p in (*ip, *conv)]))
