"""Means of test outputs: also of those whose size changes, that are empty now and then, or that are maps."""

import re

import numpy as np
import pytest

from demitasse.solver.__main__ import main
from demitasse.solver.output_means import OutputMeans
from tests.test_solver import small


def means_of(*batches):
    means = OutputMeans()
    for batch in batches:
        means.add({name: np.asarray(values, np.float32) for name, values in batch.items()})
    return {name: values.tolist() for name, values in means.means().items()}, means.notes()


def test_means_of_batches():
    assert means_of({"a": 1, "b": [1, 2]}, {"a": 2, "b": [3, 4]}) == ({"a": 1.5, "b": [2, 3]}, [])


def test_a_batch_is_not_kept_but_added():
    values, means = np.ones(2, np.float32), OutputMeans()
    means.add({"a": values})
    values[:] = 5  # the net's own array, which the next batch takes
    means.add({"a": values})
    assert means.means()["a"].tolist() == [3, 3]


@pytest.mark.parametrize("sizes", [[1, 3, 1, 1], [3, 1, 1], [1, 1, 3]])
def test_a_size_that_changes_is_told_and_never_broadcast(sizes):
    means, notes = means_of(*({"a": np.ones(size), "b": 2} for size in sizes))
    assert means == {"b": 2}
    first, other = sizes[0], next(size for size in sizes if size != sizes[0])
    assert notes == [f"output a has no mean: its size changes between batches ({first}, then {other})"]


def test_height_and_width_exchanged_are_another_size():
    means, notes = means_of({"a": np.ones((2, 3))}, {"a": np.ones((3, 2))})
    assert means == {} and "(2x3, then 3x2)" in notes[0]


def test_an_output_that_is_empty_in_some_batches():
    means, notes = means_of({"a": []}, {"a": [0.5]}, {"a": []}, {"a": [1]})
    assert means == {"a": [0.75]}
    assert notes == ["output a is empty in 2 of 4 batches: its mean is over the rest"]
    assert means_of({"a": []}, {"a": []}) == ({}, ["output a has no mean: it is empty in every batch"])


METRIC = """
import caffe
class Metric(caffe.Layer):
    def setup(self, bottom, top): self.n, self.sizes = 0, [int(size) for size in self.param_str.split()]
    def reshape(self, bottom, top): top[0].reshape(1)
    def forward(self, bottom, top):
        top[0].reshape(self.sizes[self.n % len(self.sizes)])
        top[0].data[...] = 0.75
        self.n += 1
    def backward(self, top, propagate_down, bottom): pass
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run(layer of the TEST phase) -> the lines of `train`, and those of `test` with what it has learned."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metric.py").write_text(METRIC)

    def both(layer):
        net = f'{small.NET}layer {{ bottom: "ip" include {{ phase: TEST }} {layer} }}'
        small.write(tmp_path, "test_iter: 4 test_interval: 2", net, small.SOLVER.replace("20", "2"))
        found = []
        for words in (["train", "solver.prototxt"], ["test", "net.prototxt", "--weights", "snap_iter_2.caffemodel"]):
            extra = ["--iterations", "4"] if words[0] == "test" else []
            assert main([*words, *extra, "--device", "generic"]) == 0
            found.append([line.split("] ", 1)[1] for line in capsys.readouterr().err.splitlines()])
        return found

    return both


def metric(sizes):
    return f'name: "m" top: "m" type: "Python" python_param {{ module: "metric" layer: "Metric" param_str: "{sizes}" }}'


def test_a_metric_of_what_only_some_batches_hold(run):
    for lines in run(metric("0 0 1 0")):
        assert any(re.search(r"(^|: )m = 0\.75$", line) for line in lines)
        assert "output m is empty in 3 of 4 batches: its mean is over the rest" in lines


def test_an_output_of_changing_size_is_one_line_and_the_others_have_their_means(run):
    for lines in run(metric("1 3 1 1")):
        assert "output m has no mean: its size changes between batches (1, then 3)" in lines
        assert not any(re.search(r"^m = |output #\d+: m", line) for line in lines)
        assert any(re.search(r"^accuracy = |output #0: accuracy = ", line) for line in lines)


def test_a_map_is_counted_and_not_listed(run):
    _, test = run('name: "map" top: "map" type: "Tile" tile_param { axis: 0 tiles: 200 }')
    assert "map holds 2400 numbers" in test and "Batch 3, map holds 2400 numbers" in test
    assert not [line for line in test if "map = " in line]


def test_an_input_that_nothing_fills_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net = (
        'layer { name: "in" type: "Input" top: "data" top: "label" input_param { '
        "shape { dim: 2 dim: 3 dim: 5 dim: 5 } shape { dim: 2 } } }\n" + small.BODY
    )
    small.write(tmp_path, net=net, base=small.SOLVER.replace("20", "2"))
    assert main(["train", "solver.prototxt", "--device", "generic"]) == 0
    assert "nothing fills the inputs data, label of this net" in capsys.readouterr().err
    arguments = ["--weights", "snap_iter_2.caffemodel", "--iterations", "1", "--device", "generic"]
    assert main(["test", "net.prototxt", *arguments]) == 0
    assert "nothing fills the inputs data, label of this net" in capsys.readouterr().err
