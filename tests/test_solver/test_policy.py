"""Learning-rate policies: values, corners, and what is said of fields that cannot work."""

import math
from types import SimpleNamespace

import pytest

from demitasse.proto.errors import SolverFault
from demitasse.solver.policy import check_policy, learning_rate, steps_taken
from demitasse.solver.schedule import Schedule
from demitasse.solver.solver import Solver
from tests.test_solver import small


class Fields(SimpleNamespace):
    """A SolverParameter's learning-rate fields, as the message answers for them."""

    def __init__(self, **given):
        super().__init__(
            **{
                "lr_policy": "",
                "base_lr": 0.0,
                "gamma": 0.0,
                "power": 0.0,
                "stepsize": 0,
                "max_iter": 0,
                "stepvalue": [],
                "stagelr": [],
                "stageiter": [],
                "plateau_winsize": [],
                "min_lr": 0.0,
                "rampup_interval": 0,
                "rampup_lr": 0.0,
                "warmup_iter": 0,
                "warmup_start_lr": 0.0,
                **given,
            }
        )
        self.given = given

    def HasField(self, name):
        return name in self.given


def rate(iteration, policy, **fields):
    param = Fields(lr_policy=policy, base_lr=0.5, **fields)
    check_policy(param)
    return learning_rate(param, iteration)


@pytest.mark.parametrize(
    "policy, fields, values",
    [
        ("fixed", {}, {0: 0.5, 10**9: 0.5}),
        ("step", {"gamma": 0.1, "stepsize": 10}, {0: 0.5, 9: 0.5, 10: 0.05, 25: 0.005}),
        ("exp", {"gamma": 0.9}, {0: 0.5, 1: 0.45, 2: 0.405}),
        ("inv", {"gamma": 1.0, "power": 0.5}, {0: 0.5, 3: 0.25}),
        ("multistep", {"gamma": 0.1}, {0: 0.5, 10**9: 0.5}),
        ("multistep", {"gamma": 0.1, "stepvalue": [0]}, {0: 0.05, 1: 0.05}),
        ("multistep", {"gamma": 0.1, "stepvalue": [2, 2, 5]}, {1: 0.5, 2: 0.005, 4: 0.005, 5: 0.0005}),
        ("poly", {"power": 2.0, "max_iter": 10}, {0: 0.5, 5: 0.125, 10: 0.0, 11: 0.0, 1000: 0.0}),
        ("poly", {"power": 2.0, "max_iter": 10, "min_lr": 0.1}, {0: 0.5, 5: 0.2, 10: 0.1, 1000: 0.1}),
        ("multifixed", {"stagelr": [0.1, 0.3, 0.2], "stageiter": [2, 2, 5]}, {0: 0.1, 1: 0.1, 2: 0.2, 5: 0.2, 9: 0.2}),
        ("fixed", {"rampup_interval": 4, "rampup_lr": 0.1}, {0: 0.1, 1: 0.2, 3: 0.4, 4: 0.5}),
        ("exp", {"gamma": 0.9, "warmup_iter": 2}, {0: 0.0, 1: 0.25, 2: 0.405}),
        ("sigmoid", {"gamma": -1.0, "stepsize": 5}, {0: 0.5 / (1 + math.exp(-5)), 5: 0.25, 10**6: 0.0}),
        ("sigmoid", {"gamma": 1.0, "stepsize": 5}, {0: 0.5 / (1 + math.exp(5)), 10**6: 0.5}),
    ],
)
def test_rates(policy, fields, values):
    for iteration, expected in values.items():
        assert rate(iteration, policy, **fields) == pytest.approx(expected, rel=1e-12), iteration


def test_an_exploding_rate_is_infinite_and_not_a_crash():
    assert rate(10**6, "exp", gamma=2.0) == math.inf


def test_the_rate_depends_on_the_iteration_alone():
    param = Fields(lr_policy="multistep", base_lr=1.0, gamma=0.5, stepvalue=[0, 1, 1])
    assert [learning_rate(param, i) for i in (5, 0, 0, 1, 0)] == [0.125, 0.5, 0.5, 0.125, 0.5]
    assert [steps_taken(param, i) for i in (0, 1, 2)] == [1, 3, 3]


@pytest.mark.parametrize(
    "fields, words",
    [
        ({}, ["no lr_policy", 'lr_policy: "fixed"']),
        ({"lr_policy": "cosine"}, ["unknown lr_policy 'cosine'", "multistep"]),
        ({"lr_policy": "multistp"}, ["did you mean 'multistep'"]),
        ({"lr_policy": "Fixed"}, ["did you mean 'fixed'"]),
        ({"lr_policy": "fixed"}, ["no base_lr"]),
        ({"lr_policy": "fixed", "base_lr": math.inf}, ["base_lr", "finite"]),
        ({"lr_policy": "fixed", "base_lr": -1.0}, ["base_lr", "-1"]),
        ({"lr_policy": "step", "base_lr": 1.0, "gamma": 0.1}, ["'step' needs stepsize"]),
        ({"lr_policy": "step", "base_lr": 1.0, "gamma": 0.1, "stepsize": 0}, ["stepsize of at least 1"]),
        ({"lr_policy": "step", "base_lr": 1.0, "stepsize": 3}, ["'step' needs gamma"]),
        ({"lr_policy": "exp", "base_lr": 1.0}, ["'exp' needs gamma"]),
        ({"lr_policy": "exp", "base_lr": 1.0, "gamma": -0.5}, ["gamma of 0 or more"]),
        ({"lr_policy": "inv", "base_lr": 1.0, "gamma": 0.1}, ["'inv' needs power"]),
        ({"lr_policy": "poly", "base_lr": 1.0, "max_iter": 5}, ["'poly' needs power"]),
        ({"lr_policy": "poly", "base_lr": 1.0, "power": 1.0}, ["'poly' needs max_iter"]),
        ({"lr_policy": "poly", "base_lr": 1.0, "power": -1.0, "max_iter": 5}, ["power of 0 or more"]),
        ({"lr_policy": "sigmoid", "base_lr": 1.0, "gamma": 0.1}, ["'sigmoid' needs stepsize"]),
        ({"lr_policy": "multistep", "base_lr": 1.0}, ["'multistep' needs gamma"]),
        (
            {"lr_policy": "multistep", "base_lr": 1.0, "gamma": 0.1, "stepvalue": [5, 2]},
            ["stepvalue must not fall: 5, 2"],
        ),
    ],
)
def test_fields_that_cannot_work(fields, words):
    with pytest.raises(SolverFault) as fault:
        check_policy(Fields(**fields))
    for word in words:
        assert word in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"stagelr": [0.1], "stageiter": []}, "1 stagelr and 0 stageiter"),
        ({"stagelr": [0.1, 0.2], "stageiter": [5, 3]}, "stageiter must not fall"),
        ({"stagelr": [-0.1], "stageiter": [5]}, "0 or more"),
        ({"stagelr": [0.1], "stageiter": [5], "rampup_interval": 1, "warmup_iter": 1}, "say the same"),
    ],
)
def test_stages_that_cannot_be(fields, says):
    with pytest.raises(SolverFault, match=says):
        rate(0, "multifixed", **fields)


def test_plateau_falls_where_the_loss_does_not():
    param = Fields(lr_policy="plateau", base_lr=1.0, gamma=0.1, plateau_winsize=[3, 2])
    check_policy(param)
    schedule, losses = Schedule(param), [5, 4, 4.5, 4, 3, 3.5, 3, 9, 9, 9, 9, 9]
    rates = [schedule.after(i, loss) for i, loss in enumerate(losses)]
    assert rates == pytest.approx([1, 1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01])
    assert schedule.steps(5) == 2 and schedule.rate(0) == pytest.approx(0.01)
    with pytest.raises(SolverFault, match="plateau_winsize: 10000"):
        rate(0, "plateau", gamma=0.1)


def test_plateau_goes_on_where_a_snapshot_was_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plateau = small.SOLVER.replace('"fixed"', '"plateau" gamma: 0.5 plateau_winsize: [2, 3, 2] average_loss: 2')
    plateau = plateau.replace("base_lr: 0.05", "base_lr: 1e-6")
    path = small.write(tmp_path, base=plateau)
    whole = Solver(path, log=small.Lines())
    rates = []
    for _ in range(12):
        whole.step(1)
        rates.append(whole.lr)
    halves = Solver(path, log=small.Lines())
    halves.step(6)
    again = Solver(path, snapshot=halves.snapshot(), log=small.Lines())
    again.step(6)
    assert again.lr == whole.lr < min(rates[:3])
    assert again.schedule.state() == whole.schedule.state()
