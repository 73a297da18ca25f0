"""The learning rate range test: what it proposes of known curves, and of a net whose good rates are known."""

import io

import numpy as np
import pytest

from demitasse.proto.errors import SolverFault
from demitasse.solver.__main__ import main
from demitasse.solver.log import Log
from demitasse.solver.lr_range import RangeTest, range_test, smoothed, text
from demitasse.solver.nonfinite import Diverged
from tests.test_solver import small

# One weight on one input: gradient descent on (x - 1)^2 / 2 converges for rates below 2, and best at 1.
LINE = """
layer { name: "data" type: "DummyData" top: "data" top: "target" dummy_data_param { shape { dim: 1 dim: 1 }
  shape { dim: 1 dim: 1 } data_filler { type: "constant" value: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 1 bias_term: false } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "target" top: "loss" }
"""
PLAIN = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 20 random_seed: 7\n'


def test_a_curve_that_falls_and_rises():
    rates = np.logspace(-6, 1, 200)
    losses = 2 - 1.5 / (1 + np.exp(-6 * (np.log10(rates) + 3))) + 40 * (rates > 0.1) * (rates - 0.1)
    rng = np.random.default_rng(1)
    found = RangeTest(rates, losses, smoothed(losses + rng.normal(0, 0.02, 200)))
    assert 3e-4 <= found.proposed <= 3e-3, "the loss falls fastest at 1e-3"
    assert f"proposed: --set base_lr={found.proposed:g}" in text(found) and text(found).count("\n") == 12


def test_a_loss_that_does_not_fall_proposes_nothing():
    rates, losses = np.logspace(-6, 1, 50), np.ones(50)
    assert RangeTest(rates, losses, smoothed(losses)).proposed is None
    assert "has not fallen: try other rates" in text(RangeTest(rates, losses, smoothed(losses)))


def test_means_at_the_ends_are_of_what_there_is():
    assert smoothed(np.arange(20.0)).tolist() == [0.5, *range(1, 19), 18.5]


def run(folder, low, high, iterations=60):
    solver = small.write(folder, net=LINE, base=PLAIN)
    return range_test(solver, low, high, iterations, device="generic", log=Log(io.StringIO(), terminal=True))


def test_a_net_whose_rates_are_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(tmp_path, 1e-4, 1e3)
    assert found.rates[0] == pytest.approx(1e-4) and np.diff(np.log(found.rates)).std() < 1e-5
    assert found.rates[-1] < 100, "it ends soon after the loss grows"
    assert 0.003 <= found.proposed < 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.prototxt", "solver.prototxt"]


def test_a_loss_that_overflows_at_once_is_told(tmp_path):
    with pytest.raises(Diverged, match="the loss is (inf|nan)"):
        run(tmp_path, 1e12, 1e30)


@pytest.mark.parametrize("low, high, iterations", [(0, 1, 50), (1, 1, 50), (1, 2, 9)])
def test_a_range_that_is_none(tmp_path, low, high, iterations):
    with pytest.raises(SolverFault, match="give 0 < low < high, and 10 or more"):
        run(tmp_path, low, high, iterations)


def test_the_command(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    monkeypatch.chdir(tmp_path)
    words = ["lr_range", small.write(tmp_path, net=LINE, base=PLAIN), "--plot", "out/range.png", "--iterations", "40"]
    words += ["--device", "generic"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "gamma is" not in err, "a rate that grows is meant here"
    assert "proposed: --set base_lr=" in out and "wrote out/range.png" in out
    assert (tmp_path / "out/range.png").read_bytes().startswith(b"\x89PNG")
    assert main([*words[:2], "--plot", "out/range.foo"]) == 2
    assert "cannot write the plot out/range.foo: its name ends in none of" in capsys.readouterr().err
    assert main([*words, "--set", "base_lr=0"]) == 2 and "--low RATE --high RATE" in capsys.readouterr().err
    assert main([*words, "--low", "0"]) == 2 and "give 0 < low < high" in capsys.readouterr().err
    assert main([*words[:2], "--iterations", "10", "--device", "generic"]) == 0
    assert "gamma is" not in capsys.readouterr().err, "a range of few steps"
