"""The goldens of layers and solvers by the door that scripts take: `import caffe`, on fresh nets and on settled ones.

As scripts do it, blobs are written in place, forward runs the whole net, and backward begins with the diffs.
"""

import numpy as np
import pytest

import caffe
from demitasse.layers.layer import TEST
from demitasse.proto.messages import NetParameter
from tests.test_layers import golden
from tests.test_solver import cases

RANDOM = {name for name in golden.case_names() if name.startswith("dropout_train")}


def learning_inputs(case) -> NetParameter:
    """The case's net.  With propagate_down a gradient flows from losses to what learns alone: inputs are Parameters."""
    net = NetParameter()
    net.CopyFrom(case.net)
    if "propagate_down" in case.meta:
        written = [flag != "not_written" for flag in case.meta.get("bottom_diff", [])]
        inputs = [layer for layer in net.layer if layer.type == "Input"]
        for layer, learns in zip(inputs, [*written, *[False] * len(inputs)], strict=False):
            if learns:
                shape = layer.input_param.shape[0]
                layer.type = "Parameter"
                layer.parameter_param.shape.CopyFrom(shape)
                layer.ClearField("input_param")
        last = net.layer[-1]
        if not last.loss_weight:
            last.loss_weight.extend([1] * len(last.top))
    return net


class Played:
    """A case as a caffe.Net, which can be run again and again."""

    def __init__(self, name: str):
        self.case = case = golden.case(name)
        self.net = caffe.Net(learning_inputs(case), TEST if case.phase == TEST else caffe.TRAIN)
        self.params = []
        for param in case.params:
            layer, index = param[:-1].split("[")
            self.params.append(self.net.params[layer][int(index)])
        names = [layer.top[0] for layer in case.net.layer if layer.type == "Input"]
        self.inputs = [self.net.params[b][0] if b in self.net.params else self.net.blobs[b] for b in names]
        self.faults = []

    def run(self) -> list[str]:
        self.faults = []
        self._begin()
        self.net.forward()
        for i, top in enumerate(self.case.tops):
            self._compare(f"top_{i}", self.net.blobs[top].data)
        for i, param in enumerate(self.params):
            self._compare(f"param_after_{i}", param.data)
        if any("_diff_" in name for name in self.case.arrays) and not self.case.meta.get("inplace"):
            self._backward()
        return self.faults

    def _begin(self) -> None:
        for i, param in enumerate(self.params):
            param.data[...] = self.case.arrays[f"param_{i}"]
        for i, blob in enumerate(self.inputs):
            blob.data[...] = self.case.arrays[f"bottom_{i}"]

    def _backward(self) -> None:
        for i, param in enumerate(self.params):
            param.data[...] = self.case.arrays[f"param_{i}"]
        self.net.clear_param_diffs()
        for i, top in enumerate(self.case.tops):
            if f"top_diff_{i}" in self.case.arrays:
                self.net.blobs[top].diff[...] = self.case.arrays[f"top_diff_{i}"]
        self.net.backward()
        for i, blob in enumerate(self.inputs):
            if golden._written(self.case, "bottom_diff", i):
                self._compare(f"bottom_diff_{i}", blob.diff)
        for i, param in enumerate(self.params):
            if golden._written(self.case, "param_diff", i):
                self._compare(f"param_diff_{i}", param.diff)

    def _compare(self, name: str, got) -> None:
        if name not in self.case.arrays:
            return
        holes = self.case.name in golden.EMPTY_WINDOWS
        fault = golden.difference(got, self.case.arrays[name], 2e-5, holes)
        if fault:
            self.faults.append(f"{name}: {fault}")


@pytest.mark.filterwarnings("ignore:.*coeff is ignored", "ignore:backward has nothing to do")
@pytest.mark.parametrize("name", [name for name in golden.case_names() if name not in RANDOM])
def test_a_layer_agrees_with_caffe(name):
    played = Played(name)
    assert [played.run(), played.run()] == [[], []]  # the second time, the net has settled


@pytest.mark.parametrize("name", cases.names())
def test_a_solver_agrees_with_caffe(name, tmp_path, monkeypatch):
    pytest.importorskip("h5py", reason="the cases' data are in HDF5")
    monkeypatch.chdir(tmp_path)
    case = cases.Case(name, tmp_path)
    solver = caffe.get_solver("solver.prototxt")
    for param, array in zip(case.params(solver.net), case.arrays("p0"), strict=True):
        param.data[...] = array
    for step in range(1, 11):
        solver.step(1)
        for i, expected in enumerate(case.arrays(f"p{step}")):
            assert cases.worst(case.params(solver.net)[i].data, expected) < 1e-5, f"param {i} after step {step}"
    solver.snapshot()
    assert list(tmp_path.glob("snap*_iter_10.caffemodel*")), "no snapshot"
    for net in (solver.net, *solver.test_nets):
        net.engine.close()


def test_all_cases_are_here():
    assert len(golden.case_names()) == 319 and len(cases.names()) == 33
    assert np.all([name in golden.case_names() for name in golden.EMPTY_WINDOWS])
