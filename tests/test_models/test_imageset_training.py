"""From image files to a trained net: databases by convert_imageset, Caffe's own prototxts and solver states."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from demitasse.models.commands.compute_image_mean import compute_image_mean
from demitasse.models.commands.convert_imageset import convert_imageset
from demitasse.proto.text import read_solver
from demitasse.solver.log import Silent
from demitasse.solver.solver import Solver
from tests.test_layers.data_sets import digits, pictures, write_files

pytest.importorskip("lmdb")

WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "weights"
published = pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"{WEIGHTS} is not there")

NET = """
layer { name: "digits" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { mean_file: "mean.binaryproto" scale: 0.0078125 crop_size: 26 }
        data_param { source: "train_lmdb" batch_size: 32 backend: LMDB } }
layer { name: "digits" type: "Data" top: "data" top: "label" include { phase: TEST }
        transform_param { mean_file: "mean.binaryproto" scale: 0.0078125 crop_size: 26 }
        data_param { source: "test_lmdb" batch_size: 100 backend: LMDB } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 8 kernel_size: 5 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "ip1" type: "InnerProduct" bottom: "conv1" top: "ip1"
        inner_product_param { num_output: 64 weight_filler { type: "xavier" } } }
layer { name: "relu2" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.05 momentum: 0.9 lr_policy: "fixed" max_iter: 1000 random_seed: 3
test_iter: 3 test_interval: 1000 test_initialization: false snapshot_prefix: "snap"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory: Caffe's paths start there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def database(name, images, labels, **options):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    listing = write_files(Path(f"{name}_files"), images, labels)
    convert_imageset(f"{name}_files", str(listing), name, report=lambda line: None, **options)
    shutil.rmtree(f"{name}_files")


def params(solver):
    return [solver.backend.to_host(param.data).copy() for param in solver.net.learnable]


@pytest.fixture
def drawn_digits(folder):
    database("train_lmdb", *digits(1200), gray=True)
    database("test_lmdb", *digits(300, seed=1), gray=True)
    compute_image_mean("train_lmdb", "mean.binaryproto", report=lambda line: None)
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER)


def test_a_net_learns_digits_from_a_database(drawn_digits):
    solver = Solver("solver.prototxt", log=Silent())
    assert solver.test()[0]["accuracy"] < 0.4
    solver.step(200)
    assert solver.test()[0]["accuracy"] > 0.65
    solver.close()


def test_a_killed_run_reads_on_where_it_was_and_gets_the_same_bits(drawn_digits):
    straight = Solver("solver.prototxt", log=Silent())
    straight.step(45)  # into the second epoch; crops are random
    straight.close()
    first = Solver("solver.prototxt", log=Silent())
    first.step(20)
    first.snapshot()
    first.step(3)  # lost when it is killed
    first.close()
    second = Solver("solver.prototxt", snapshot="snap_iter_20.solverstate", log=Silent())
    second.step(25)
    assert all(np.array_equal(a, b) for a, b in zip(params(straight), params(second), strict=True))
    second.close()


@published
@pytest.mark.parametrize("steps", [5, pytest.param(400, marks=pytest.mark.full)])
def test_lenet_trains_from_its_published_prototxts(folder, steps):
    """As they are: V1 layers, and by default a LEVELDB, which the database need not be."""
    database("mnist-train-leveldb", *digits(2000), gray=True)
    database("mnist-test-leveldb", *digits(1000, seed=1), gray=True)
    param, _ = read_solver(WEIGHTS / "lenet-v1" / "lenet_solver.prototxt")
    param.train_net = str(WEIGHTS / "lenet-v1" / param.train_net)
    param.test_net[0] = str(WEIGHTS / "lenet-v1" / param.test_net[0])
    param.random_seed, param.test_initialization = 1, False
    if steps < 100:
        param.test_iter[0] = 2
    solver = Solver(param, log=Silent())
    start = params(solver)
    solver.step(steps)
    assert solver.iter == steps and all((a != b).any() for a, b in zip(start, params(solver), strict=True))
    assert solver.test()[0]["accuracy"] > (0.9 if steps > 100 else 0)
    solver.close()


@published
@pytest.mark.parametrize("steps", [2, pytest.param(100, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "state, iteration",
    [("cifar10_quick_iter_4000.solverstate", 4000), ("cifar10_quick_iter_5000.solverstate.h5", 5000)],
)
def test_cifar_quick_goes_on_from_caffes_own_state(folder, state, iteration, steps):
    """The published solver and net, their paths laid out in the working directory; pictures in CIFAR's place."""
    database("examples/cifar10/cifar10_train_lmdb", *pictures(1000))
    database("examples/cifar10/cifar10_test_lmdb", *pictures(200, seed=1))
    for name in ("mean.binaryproto", "cifar10_quick_train_test.prototxt"):
        shutil.copy(WEIGHTS / "cifar10-quick-h5" / name, "examples/cifar10")
    param, _ = read_solver(WEIGHTS / "cifar10-quick-h5" / "cifar10_quick_solver_lr1.prototxt")
    param.test_initialization, param.test_iter[0] = False, 1
    param.solver_mode = param.CPU
    solver = Solver(param, snapshot=str(WEIGHTS / "cifar10-quick-h5" / state), log=Silent())
    assert solver.iter == iteration and any(h.any() for h in solver.updater.host_history())
    before = solver.test()[0]["loss"]
    solver.step(steps)
    assert solver.iter == iteration + steps
    assert solver.test()[0]["loss"] < before
    solver.close()
