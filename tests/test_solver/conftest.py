"""What the solver's tests have in common."""

import pytest

from demitasse.solver.solver import Solver
from tests.test_solver import small


@pytest.fixture
def make(tmp_path, monkeypatch):
    """make(fields, net=..., **options) -> (solver, its log), in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def build(fields="", net=small.NET, base=small.SOLVER, **options):
        log = small.Lines()
        return Solver(small.write(tmp_path, fields, net, base), device="generic", log=log, **options), log

    return build


@pytest.fixture
def make_at(make):
    """make_at(net, rate, fields) -> (solver, its log): nine iterations at a rate, each displayed."""
    base = 'lr_policy: "fixed" max_iter: 9 random_seed: 1 snapshot_after_train: false display: 1 '
    return lambda net, rate=0.01, fields="": make(fields, net, f"base_lr: {rate} {base}")
