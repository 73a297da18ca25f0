"""Training whose passes are recorded: solver, snapshots and resumed runs give the same bits as without."""

import numpy as np

from demitasse.layers.backend import make_backend
from demitasse.solver.log import Silent
from demitasse.solver.solver import Solver
from tests.test_netdef.test_training_recordings import SQUEEZE, early, recorded  # noqa: F401 (a fixture for all)

DATA = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 1 dim: 3 dim: 63 dim: 67 } shape { dim: 1 dim: 1 dim: 1 dim: 1 }
    data_filler { type: "gaussian" } data_filler { type: "uniform" min: 0 max: 6.9 } } }
"""
SETTINGS = """
net: "net.prototxt" base_lr: 0.005 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed" iter_size: 2 random_seed: 3
max_iter: 12 snapshot_prefix: "%s" test_iter: 1 test_interval: 3 display: 2
"""


def solver(record, prefix):
    with open("solver.prototxt", "w") as file:
        file.write(SETTINGS % prefix)
    return Solver("solver.prototxt", backend=make_backend("cpu", threads=2, record=record), log=Silent())


def test_snapshots_and_resumed_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(DATA + SQUEEZE)
    weights = []
    for record in (True, False):
        first = solver(record, f"first{record}")
        first.step(6)
        state = first.snapshot()
        second = solver(record, f"second{record}")
        second.restore(state)
        for one in (first, second):
            one.step(6)
            weights.append([param.data for params in one.net.params.values() for param in params])
            assert recorded(one) == ((1, 1) if record else (0, 0))
    assert all(all(map(np.array_equal, weights[0], others)) for others in weights[1:])
