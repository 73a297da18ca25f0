"""Blobs that a pass has not kept show what Caffe would show, whatever a script has done meanwhile."""

import gc
import threading

import numpy as np
import pytest

import caffe
from caffe import mode
from caffe.blobs import PATIENCE
from demitasse.netdef.net import Net as Engine
from demitasse.proto.errors import NetError
from tests.test_caffe.nets import write

HEAD = """
name: "lazy"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
"""
TEXT = (
    HEAD
    + """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale"
  scale_param { bias_term: true filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "scale" }
layer { name: "drop" type: "Dropout" bottom: "scale" top: "drop" dropout_param { sample_weights_test: true } }
layer { name: "half" type: "Convolution" bottom: "drop" top: "half"
  convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "join" type: "Concat" bottom: "scale" bottom: "half" top: "join" }
layer { name: "sum" type: "InnerProduct" bottom: "join" top: "sum"
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 0.1 } } }
"""
)
BLOBS = ["data", "conv", "bn", "scale", "drop", "half", "join", "sum"]
RNG = np.random.default_rng(8)


def image(*shape):
    return RNG.standard_normal(shape or (1, 3, 8, 8)).astype(np.float32)


class Pair:
    """The net, and beside it one that fuses nothing and keeps everything; whatever is done is done to both."""

    def __init__(self, folder, text=TEXT):
        path = write(folder, text)
        self.net = caffe.Net(path, caffe.TEST)
        engine = Engine(path, "TEST", backend=mode.backend(), keep="newest", fuse=False)
        self.plain = caffe.Net.of(engine)
        for name, blobs in self.net.params.items():
            for number, blob in enumerate(blobs):
                blob.data[...] = 1 if name == "bn" else blob.data
                self.plain.params[name][number].data[...] = blob.data

    def both(self, do):
        before = mode.backend().random_state()
        ours = do(self.net)
        mode.backend().set_random_state(before)
        return ours, do(self.plain)

    def forward(self, **options):
        """A pass over a new image, unless it begins further down."""
        picture = image()

        def run(net):
            if "start" not in options:
                net.blobs["data"].data[...] = picture
            return net.forward(**options)

        ours, plain = self.both(run)
        for name in plain:
            np.testing.assert_allclose(ours[name], plain[name], rtol=1e-4, atol=1e-5)

    def agree(self, *names):
        for name in names or BLOBS:
            ours, plain = self.both(lambda net: net.blobs[name].data)  # noqa: B023
            np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-5, err_msg=name)

    def kept(self):
        """Which blobs the last pass has left."""
        return sorted(value.name for value in self.net.engine.executor.made)


@pytest.fixture
def pair(tmp_path):
    caffe.set_random_seed(3)
    return Pair(tmp_path)


def test_what_was_not_kept_is_computed_to_the_bit(pair):
    pair.forward()
    assert pair.kept() == ["drop", "sum"]  # "drop" draws numbers, which do not come again
    for name in ("conv", "bn", "scale"):
        assert np.array_equal(pair.net.blobs[name].data, pair.plain.blobs[name].data), name
    pair.forward()
    assert pair.kept() == ["bn", "conv", "drop", "scale", "sum"]
    pair.agree()


def test_a_view_is_live_and_a_blob_is_forgotten_once_nobody_looks(pair):
    pair.forward()
    view = pair.net.blobs["bn"].data[0, 1:]
    pair.agree("half")
    for _ in range(PATIENCE + 1):
        pair.forward()
        np.testing.assert_allclose(view, pair.plain.blobs["bn"].data[0, 1:], rtol=1e-4, atol=1e-5)
    assert "half" not in pair.kept()
    pair.agree("half")
    del view
    gc.collect()
    for _ in range(PATIENCE + 1):
        pair.forward()
    assert pair.kept() == ["drop", "sum"]
    pair.agree()


def test_the_input_may_change_before_somebody_looks(pair):
    pair.forward()
    pair.both(lambda net: net.blobs["data"].data.fill(7))
    pair.agree()
    pair.forward()
    pair.both(lambda net: net.blobs["data"].reshape(1, 3, 6, 6))
    pair.agree("bn", "half")


def test_weights_may_change_before_somebody_looks(pair, tmp_path):
    def change(net):
        net.params["conv"][0].data[...] *= 2

    saved = str(tmp_path / "w.caffemodel")
    pair.plain.save(saved)
    pair.forward()
    pair.both(change)
    pair.agree("conv", "scale", "half")
    pair.forward()
    pair.agree("half")
    for _ in range(2 * PATIENCE):
        pair.forward()
    pair.both(lambda net: net.copy_from(saved))
    pair.agree()
    held = pair.both(lambda net: net.params["conv"][0].data[:1])
    for _ in range(2):
        pair.forward()
        for array in held:
            array *= 3
        pair.agree("scale", "bn")


def test_weights_shared_with_another_net(pair, tmp_path):
    other = caffe.Net(write(tmp_path, TEXT, "other.prototxt"), caffe.TEST)
    pair.forward()
    other.share_with(pair.net)
    other.params["half"][0].data[...] = 9
    pair.agree()
    pair.plain.params["half"][0].data[...] = 9
    pair.forward()
    other.params["half"][0].data[...] = 1
    pair.agree()


def test_parts_of_a_pass(pair):
    pair.forward(end="half")
    pair.agree("conv", "scale", "half")
    pair.forward()
    pair.forward(start="half")  # what it reads was kept
    pair.forward(start="bn")  # what it reads was not
    pair.agree()
    pair.forward()
    written = image(1, 4, 8, 8)
    pair.both(lambda net: np.copyto(net.blobs["bn"].data, written))
    pair.agree("conv", "scale", "join")
    pair.forward(start="scale", end="relu")
    pair.agree()
    pair.both(lambda net: net.after_forward(lambda index: None))
    pair.forward()
    assert pair.kept() == sorted(BLOBS[1:])
    pair.agree()


PYTHON = (
    HEAD
    + """
layer { name: "count" type: "Python" bottom: "data" top: "count"
  python_param { module: "tests.test_caffe.test_pycaffe_lazy_blobs" layer: "Count" } }
layer { name: "twice" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }
layer { name: "more" type: "Power" bottom: "count" top: "more" power_param { shift: 1 } }
layer { name: "end" type: "Pooling" bottom: "more" top: "end" pooling_param { global_pooling: true } }
layer { name: "stop" type: "Python" bottom: "end" top: "stop"
  python_param { module: "tests.test_caffe.test_pycaffe_lazy_blobs" layer: "Count" } }
layer { name: "last" type: "Power" bottom: "stop" bottom: "twice" top: "last" }
""".replace('bottom: "stop" bottom: "twice"', 'bottom: "stop"')
)


class Count(caffe.Layer):
    """Gives how often it has run, at most three times."""

    def setup(self, bottom, top):
        self.runs = 0

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        if self.runs == 3:
            raise ValueError("enough")
        self.runs += 1
        top[0].data[...] = self.runs


def test_a_users_code_does_not_run_again_and_what_ran_before_its_failure_is_there(tmp_path):
    net = caffe.Net(write(tmp_path, PYTHON), caffe.TEST)
    for runs in (1, 2, 3):
        net.blobs["data"].data[...] = runs
        net.forward()
        assert net.engine.executor.made.keys() < set(net.engine.plan.values)
        assert (net.blobs["more"].data == runs + 1).all() and (net.blobs["last"].data == runs).all()
    for layer, twice in (("count", 20), ("stop", 22)):
        for name in ("count", "stop"):
            net.layer_dict[name].runs = 3 if name == layer else 0
        net.blobs["data"].data[...] = twice / 2
        with pytest.raises((ValueError, NetError), match="enough"):
            net.forward()
        assert (net.blobs["last"].data != 1).all()
    assert (net.blobs["twice"].data == 22).all() and (net.blobs["more"].data == 2).all()


def test_several_threads_look_at_blobs(pair):
    pictures, wrong = [image() for _ in range(4)], []
    expected = []
    for picture in pictures:
        pair.plain.forward(data=picture)
        expected.append(pair.plain.blobs["bn"].data.copy())

    def work(number):
        for _ in range(10):
            with pair.net.lock:
                pair.net.forward(data=pictures[number])
                same = np.allclose(pair.net.blobs["bn"].data, expected[number], rtol=1e-4, atol=1e-5)
            wrong.extend([] if same else [number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
