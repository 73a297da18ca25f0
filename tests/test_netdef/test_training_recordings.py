"""Training that is recorded on the CPU: gradients, weights and losses to the bit as without."""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from demitasse.proto.messages import SolverParameter
from demitasse.solver.updates import Updater
from tests.test_netdef.test_cpu_recordings import early  # noqa: F401 (a fixture for all)
from tests.test_netdef.test_epilogues import normed
from tests.test_netdef.texts import blob, conv, layer

POOL = "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"
GLOBAL = "pooling_param { pool: AVE global_pooling: true }"


def relu(name):
    return layer("ReLU", f"{name}_relu", name, name)


def fire(name, bottom, width):
    squeeze, left, right = (f"{name}_{part}" for part in ("squeeze", "left", "right"))
    text = conv(squeeze, bottom, width, kernel=1) + relu(squeeze)
    text += conv(left, squeeze, 2 * width, kernel=1) + relu(left)
    text += conv(right, squeeze, 2 * width, param="pad: 1") + relu(right)
    return text + layer("Concat", name, f"{left} {right}")


def inputs_of(shape):
    return blob("label", (shape[0], 1, 1, 1)) + blob(shape=shape)


END = (
    conv("score", "last", 7, kernel=1)
    + layer("Pooling", "pool", "score", more=GLOBAL)
    + layer("SoftmaxWithLoss", "loss", "pool label")
    + layer("Accuracy", "accuracy", "pool label")
)
SQUEEZE = (
    conv("conv1", "data", 24, kernel=7, param="stride: 2")
    + relu("conv1")
    + layer("Pooling", "pool1", "conv1", more=POOL)
    + fire("fire2", "pool1", 8)
    + layer("LRN", "norm", "fire2", more="lrn_param { local_size: 5 }")
    + fire("fire3", "norm", 16)
    + conv("wide", "fire2", 64, kernel=1)
    + layer("Eltwise", "sum", "wide fire3")
    + layer("Split", "split", "sum", "one two")
    + layer("Pooling", "pool3", "one", more=POOL)
    + layer("Pooling", "pool4", "two", more=POOL)
    + layer("Eltwise", "both", "pool3 pool4")
    + fire("fire4", "both", 12)
    + layer("Dropout", "last", "fire4", more="dropout_param { dropout_ratio: 0.5 }")
    + END
)
MIDDLE = (
    conv("c1", "data", 12, param="pad: 1")
    + normed("c1", "c1")
    + layer("Dropout", "drop", "c1", "c1")
    + fire("f1", "c1", 8)
    + fire("last", "f1", 8)
    + END
)
UP = (
    conv("c1", "data", 16, param="pad: 1")
    + relu("c1")
    + conv("up", "c1", 16, param="pad: 1").replace("Convolution", "Deconvolution")
    + fire("f1", "up", 8)
    + fire("last", "f1", 8)
    + END
)


class Training:
    """A net and how its weights are updated."""

    def __init__(self, text, record, threads=2, momentum=0.9, **options):
        self.backend = make_backend("cpu", threads=threads, record=record)
        self.net = Net(text, "TRAIN", backend=self.backend, seed=3, **options)
        settings = SolverParameter(momentum=momentum, weight_decay=5e-4)
        self.updater = Updater(settings, self.net.learnable, self.backend)

    def step(self, batches, rate=0.005):
        """The loss of some iterations and one update."""
        self.net.clear_grads()
        losses = []
        for batch in batches:
            self.net.forward(batch)
            losses.append(self.net.loss)
            self.net.backward()
        grads = [param.grad.copy() for param in self.net.learnable if param.grad is not None]
        self.updater.apply(rate, len(batches))
        return losses, grads


def pair(text, shape, **options):
    return [Training(inputs_of(shape) + text, record, **options) for record in (True, False)]


def batch(seed, shape):
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, 7, (shape[0], 1, 1, 1)).astype(np.float32)
    return {"data": draws.standard_normal(shape).astype(np.float32), "label": labels}


def all_arrays(net):
    return [param.data for params in net.params.values() for param in params]


def agree(both, batches):
    (losses, grads), (their_losses, their_grads) = (training.step(batches) for training in both)
    assert losses == their_losses
    assert all(map(np.array_equal, grads, their_grads))
    assert all(map(np.array_equal, all_arrays(both[0].net), all_arrays(both[1].net)))
    for name in ("loss", "accuracy"):
        assert np.array_equal(both[0].net.blobs[name], both[1].net.blobs[name])


def recorded(training):
    """(recordings forward, backward)"""
    text = str(training.net.recordings).split()
    return int(text[0]), int(text[2])


NETS = {
    "fires": (SQUEEZE, (2, 3, 63, 67)),
    "one image": (SQUEEZE, (1, 3, 63, 67)),
    "normalized": (MIDDLE, (2, 3, 17, 19)),
    "deconvolution": (UP, (1, 3, 17, 19)),
}


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_twenty_steps(name, iterations):
    text, shape = NETS[name]
    both = pair(text, shape)
    for seed in range(20):
        agree(both, [batch(100 * i + seed, shape) for i in range(iterations)])
    assert recorded(both[0]) == (1, 1), both[0].net.recordings
    assert recorded(both[1]) == (0, 0)


@pytest.mark.parametrize("options", [{"threads": 1}, {"keep": ["fire2"]}, {"fuse": False}], ids=str)
def test_options(options):
    shape = (1, 3, 63, 67)
    both = pair(SQUEEZE, shape, **options)
    for seed in range(6):
        agree(both, [batch(seed, shape)])
        if "keep" in options:
            assert np.array_equal(both[0].net.blobs["fire2"], both[1].net.blobs["fire2"])
            assert np.array_equal(both[0].net.grads["fire2"], both[1].net.grads["fire2"])
    assert recorded(both[0]) == (1, 1)


def test_nets_that_keep_all_are_not_recorded():
    """Backward may run twice there, and what is written into a blob before it counts."""
    shape = (1, 3, 63, 67)
    both = pair(SQUEEZE, shape, keep="newest")
    for seed in range(4):
        agree(both, [batch(seed, shape)])
    assert recorded(both[0]) == (0, 0)


def test_statistics_of_batches_are_taken_once():
    """They are taken by NumPy: what is tried in vain changes nothing."""
    text, shape = (
        conv("c1", "data") + normed("c1", "c1", None) + conv("c2", "c1") + conv("last", "c2") + END,
        (2, 3, 9, 9),
    )
    both = pair(text, shape)
    for seed in range(5):
        agree(both, [batch(seed, shape)])
    assert "c1_bn" in [step.name for step in both[0].net.recordings.refused]


def test_rows_that_repeat_end_it():
    """Fewer of them are computed, in another order: recorded is what is done as a rule."""
    text, shape = conv("c1", "data", 16, param="pad: 1") + relu("c1") + fire("last", "c1", 16) + END, (1, 3, 64, 64)
    both = pair(text, shape)
    for seed in range(4):
        agree(both, [batch(seed, shape)])
    assert recorded(both[0]) == (1, 1)
    bordered = batch(9, shape)
    bordered["data"][:, :, 20:] = 0
    agree(both, [bordered])
    assert recorded(both[0]) == (0, 0)
    for seed in range(4):
        agree(both, [batch(seed, shape)])


def test_changes_between_steps():
    """Sizes, arrays, gradients to begin from, hooks, parts of passes, and a forward pass that nobody goes back from."""
    shape, small = (1, 3, 63, 67), (1, 3, 47, 51)
    both = pair(SQUEEZE, shape)

    def steps(n, of=shape):
        for seed in range(n):
            agree(both, [batch(seed, of)])

    steps(4)
    steps(4, small)
    assert recorded(both[0]) == (2, 2)
    steps(2)
    for training in both:
        training.net.forward(batch(5, shape))
    steps(1)
    for training in both:
        training.net.forward(batch(6, shape))
        training.net.backward(grads={"loss": np.float32(2)})
        training.net.forward(batch(6, shape))
        training.net.backward(end="fire3")
        training.net.backward(start="norm")
    steps(1)
    seen = []
    for training in both:
        training.net.after_backward.append(seen.append)
    steps(1)
    assert len(seen) == 2 * len(both[0].net.plan.steps)
    for training in both:
        training.net.after_backward.clear()
        weights = training.net.params["wide"][0]
        weights.data[...] *= 0.5  # seen by what is recorded
    steps(1)
    for training in both:
        training.net.params["wide"][0].data = training.net.params["wide"][0].data * 2
        training.updater = Updater(SolverParameter(), training.net.learnable, training.backend)
    steps(5)
    assert recorded(both[0]) == (1, 1)


def test_a_fault_while_backward_is_recorded(monkeypatch):
    """Also the second time that it runs, when it has given away memory of the forward pass."""
    shape = (1, 3, 63, 67)
    for calls in (1, 16):
        both, left = pair(SQUEEZE, shape), [calls]
        for seed in range(2):
            agree(both, [batch(seed, shape)])
        layer_type = type(next(step.layer for step in both[0].net.plan.steps if step.name == "wide"))
        ordinary = layer_type.backward

        def fail(self, *args, ordinary=ordinary, left=left, **options):
            if self.be.xp is not np:
                left[0] -= 1
                if not left[0]:
                    raise KeyboardInterrupt
            return ordinary(self, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(layer_type, "backward", fail)
            both[0].net.forward(batch(8, shape))
            both[0].net.clear_grads()
            with pytest.raises(KeyboardInterrupt):
                both[0].net.backward()
        both[1].net.forward(batch(8, shape))
        for seed in range(6):
            agree(both, [batch(seed, shape)])


def test_memory_is_no_more_than_that_of_ordinary_passes():
    shape = (4, 3, 127, 127)
    both = pair(SQUEEZE, shape)
    pool = both[0].backend.memory
    pool.clear()
    before, pool.peak = pool.used, pool.used
    both[1].step([batch(0, shape)])
    ordinary = pool.peak - before
    for seed in range(4):
        both[0].step([batch(seed, shape)])
    assert recorded(both[0]) == (1, 1) and both[0].net.recordings.nbytes() <= 1.1 * ordinary


def test_nets_too_large_are_not_recorded(monkeypatch):
    monkeypatch.setattr("demitasse.layers.backend.cpu.recording.MAX_RECORDED_BYTES", 1 << 16)
    both = pair(SQUEEZE, (1, 3, 63, 67))
    for seed in range(4):
        agree(both, [batch(seed, (1, 3, 63, 67))])
    assert recorded(both[0]) == (0, 0) and not both[0].net.recordings.on
