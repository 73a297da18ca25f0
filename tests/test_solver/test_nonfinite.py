"""Where a NaN or an infinity began: the iteration, the layer, and what to try."""

import numpy as np
import pytest

from demitasse.proto.errors import SolverFault
from demitasse.solver.bilinear import fill_zero_deconvolutions
from tests.test_solver.fcn_net import fcn


def fault_of(solver, steps=9):
    with pytest.raises(SolverFault) as fault:
        solver.step(steps)
    assert "\n" not in str(fault.value)
    return str(fault.value)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_an_explosion_names_the_iteration_the_layer_and_a_remedy(make_at):
    labels = fcn().replace('{ type: "constant" value: 1 }', '{ type: "uniform" max: 4.99 }')
    solver, log = make_at(labels, rate=1e30)
    fill_zero_deconvolutions(solver.net)
    text = fault_of(solver)
    assert "net.prototxt:" in text and "iteration " in text and "the loss is " in text
    assert "lower base_lr (now 1e+30)" in text and "clip_gradients" in text


def test_weights_that_an_update_has_spoilt(make_at):
    solver, log = make_at(fcn())
    solver.step(1)
    solver.net.params["conv"][1].data[2] = np.nan
    text = fault_of(solver)
    assert "layer 'conv' (Convolution): iteration 1: the loss is nan" in text and "made the weights (array 1)" in text


SPOILT = """
import caffe
class Spoilt(caffe.Layer):
    def setup(self, bottom, top): self.n = 0
    def reshape(self, bottom, top):
        top[0].reshape(2, 3, 8, 8); top[1].reshape(2, 1, 8, 8)
    def forward(self, bottom, top):
        top[0].data[...] = top[1].data[...] = 1
        if self.n == 2: top[0].data[1, 2, 3, 4] = float('nan')
        self.n += 1
    def backward(self, top, propagate_down, bottom): pass
    def state(self): return {'n': self.n}
    def load_state(self, state): self.n = state['n']
"""


def spoilt(tmp_path, net):
    """The net on data of which the third batch has a NaN in its second image."""
    (tmp_path / "spoilt.py").write_text(SPOILT)
    return (
        'layer { name: "data" type: "Python" top: "data" top: "label" '
        'python_param { module: "spoilt" layer: "Spoilt" } }\n' + net[net.index('layer { name: "conv"') :]
    )


def test_data_with_a_nan_in_them(make_at, tmp_path):
    solver, log = make_at(
        spoilt(tmp_path, fcn().replace('layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }', ""))
    )
    fill_zero_deconvolutions(solver.net)
    text = fault_of(solver)
    assert "net.prototxt:1:1: layer 'data' (Python): iteration 2: the loss is nan" in text
    assert "the data of this layer hold a NaN or an infinity (blob data, image 1 of the batch, at 2,3,4)" in text


@pytest.mark.parametrize("passes", [1, 3])
def test_data_whose_nan_the_loss_does_not_see(make_at, tmp_path, passes):
    """A layer that swallows it: the gradient of the convolution still multiplies it, and the weights are spoilt."""
    net = (
        fcn()
        .replace(
            'type: "ReLU" bottom: "conv" top: "conv"',
            'type: "Python" bottom: "conv" top: "conv2" python_param { module: "swallow" layer: "Swallow" }',
        )
        .replace('bottom: "conv" top: "score"', 'bottom: "conv2" top: "score"')
    )
    (tmp_path / "swallow.py").write_text(
        "import caffe, numpy as np\n"
        "class Swallow(caffe.Layer):\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)\n"
        "    def forward(self, bottom, top):\n"
        "        x = bottom[0].data\n"
        "        top[0].data[...] = x if np.isnan(x).mean() > 0.5 else np.nan_to_num(x)\n"
        "    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = top[0].diff + 1e-3\n"
    )
    solver, log = make_at(spoilt(tmp_path, net), fields=f"iter_size: {passes}")
    fill_zero_deconvolutions(solver.net)
    text = fault_of(solver)
    spoilt_in = 2 // passes
    assert f"layer 'data' (Python): iteration {spoilt_in + 1}: the loss is nan" in text
    assert f"held a NaN or an infinity in iteration {spoilt_in} (blob data, image 1 of the batch, at 2,3,4)" in text


@pytest.mark.filterwarnings("ignore:.*NaN among the weights")
def test_weights_that_come_with_a_nan_are_of_their_file(make_at):
    solver, _ = make_at(fcn())
    solver.net.params["conv"][0].data[1, 2, 0, :2] = np.nan
    solver.net.save("spoilt.caffemodel")
    solver, _ = make_at(fcn(), fields='weights: "spoilt.caffemodel"')
    text = fault_of(solver)
    assert "layer 'conv' (Convolution): iteration 0: the loss is nan; 2 weights (array 0) of this layer" in text
    assert "since spoilt.caffemodel was loaded" in text and "an update" not in text


def test_weights_that_a_script_has_set_to_nan(make_at):
    solver, _ = make_at(fcn())
    solver.net.params["conv"][1].data[:] = np.inf
    text = fault_of(solver)
    assert "4 weights (array 1) of this layer have been NaN or infinite before the first update" in text


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_layer_that_makes_the_first_nan(make_at):
    net = fcn().replace(
        'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }',
        'layer { name: "log" type: "Log" bottom: "conv" top: "conv" }',
    )
    solver, log = make_at(net)
    fill_zero_deconvolutions(solver.net)
    text = fault_of(solver)
    assert "layer 'log' (Log): iteration " in text
    assert "the first values that are not finite come out of this layer" in text
