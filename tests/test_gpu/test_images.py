"""Images whose channels lie last: made, turned back, scaled; primitives and whole nets that pass them on.

On a GPU with `make test-gpu`, else with the kernels run on the CPU and a stand-in for cuDNN.
"""

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry
from demitasse.layers.backend.gpu.nhwc import NhwcTensor
from demitasse.netdef.net import Net
from tests.test_gpu import fake_cudnn, shim
from tests.test_gpu.test_device import FCN, image

generic = make_backend("generic")
SHAPES = [
    (1, 3, 5, 7),
    (2, 33, 1, 65),
    (2, 64, 3, 1),
    (1, 1, 40, 40),
    (2, 70, 9, 11),
    (0, 3, 4, 5),
    (1, 1, 1, 1),
    (2, 21, 9, 8),
    (1, 64, 11, 13),
    (2, 65, 1, 64),
    (1, 100, 7, 7),
]
TOLERANCE = {"tf32": 2e-3, "fp16": 2e-3}
WHOLE = {"tf32": 2e-2, "fp16": 4e-2}  # of a net's norms
# What passes images on, what does not, and values that both read.
MIXED = """
name: "mixed" force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 23 dim: 18 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 12 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "prelu" type: "PReLU" bottom: "conv1" top: "prelu" }
layer { name: "conv2" type: "Convolution" bottom: "prelu" top: "conv2"
        convolution_param { num_output: 12 kernel_size: 3 stride: 2 bias_term: false weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv2" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true
        filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 } } }
layer { name: "bn2" type: "BN" bottom: "scale" top: "bn2" bn_param { bn_mode: INFERENCE shift: 0.1 } }
layer { name: "shared" type: "PReLU" bottom: "bn2" top: "shared" prelu_param { channel_shared: true } }
layer { name: "relu" type: "ReLU" bottom: "shared" top: "relu" relu_param { negative_slope: 0.1 } }
layer { name: "ave" type: "Pooling" bottom: "relu" top: "ave"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "conv3" type: "Convolution" bottom: "ave" top: "conv3"
        convolution_param { num_output: 12 kernel_size: 3 pad: 1 group: 3 weight_filler { type: "msra" } } }
layer { name: "leaky" type: "ReLU" bottom: "conv3" top: "conv3" relu_param { negative_slope: 0.2 } }
layer { name: "sum" type: "Eltwise" bottom: "conv3" bottom: "ave" top: "sum" }
layer { name: "join" type: "Concat" bottom: "sum" bottom: "conv3" bottom: "ave" top: "join" }
layer { name: "pair" type: "Concat" bottom: "conv3" bottom: "ave" top: "pair" }
layer { name: "rows_of" type: "Concat" bottom: "join" bottom: "join" top: "rows_of" concat_param { axis: 2 } }
layer { name: "mix" type: "Convolution" bottom: "rows_of" top: "mix"
        convolution_param { num_output: 6 kernel_size: 2 weight_filler { type: "msra" } } }
layer { name: "mix2" type: "Convolution" bottom: "pair" top: "mix2"
        convolution_param { num_output: 6 kernel_size: 2 weight_filler { type: "msra" } } }
layer { name: "cut" type: "Crop" bottom: "mix" bottom: "mix2" top: "cut" }
layer { name: "both" type: "Concat" bottom: "cut" bottom: "mix2" top: "both" }
layer { name: "up" type: "Deconvolution" bottom: "both" top: "up"
        convolution_param { num_output: 8 kernel_size: 4 stride: 2 pad: 1 weight_filler { type: "msra" }
                            bias_filler { type: "constant" value: 0.5 } } }
layer { name: "relu_up" type: "ReLU" bottom: "up" top: "up" }
layer { name: "top" type: "Pooling" bottom: "up" top: "top" top: "mask" pooling_param { kernel_size: 3 stride: 3 } }
layer { name: "flat" type: "Convolution" bottom: "top" top: "flat"
        convolution_param { num_output: 40 kernel_h: 3 kernel_w: 2 weight_filler { type: "msra" } } }
layer { name: "again" type: "ReLU" bottom: "flat" top: "flat" }
layer { name: "rows" type: "InnerProduct" bottom: "flat" top: "rows"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "Reduction" bottom: "rows" top: "loss" loss_weight: 1 reduction_param { operation: SUMSQ } }
"""


@pytest.fixture(autouse=True)
def on_a_gpu(request, monkeypatch):
    """Whether device "gpu" is one; else it is the CPU, pretending."""
    real = shim.gpu_or_pretence(request, monkeypatch, shim.CudnnRuntime)
    if not real:
        monkeypatch.setattr(fake_cudnn, "without_cores", set())
        monkeypatch.setitem(TOLERANCE, "tf32", 1e-6)  # the stand-in for cuDNN does not round
        monkeypatch.setitem(WHOLE, "tf32", 1e-5)
    elif make_backend("gpu").cudnn is None:
        pytest.skip("without cuDNN there are no such images: pip install 'nvidia-cudnn-frontend>=1.18,<1.24'")
    return real


def gpu(precision):
    backend = make_backend("gpu", precision=precision)
    backend.seed(5)
    return backend


def values(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rounded(x, precision):
    return x.astype(np.float16).astype(np.float32) if precision == "fp16" else x


def near(got, expected, precision):
    got = np.asarray(got)
    assert got.shape == expected.shape and got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[precision] * np.abs(expected).max(initial=1e-30))


# -- images themselves -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", TOLERANCE)
def test_an_image_turned_back_is_what_it_was(precision, shape):
    be, x = gpu(precision), values(*shape)
    made = be.cudnn.layout.tensor(be.asarray(x))
    assert made.shape == shape and made.size == x.size and len(made) == shape[0] and made.dtype == np.float32
    lying = be.xp.asarray(made.array, dtype="float32")
    assert np.array_equal(be.to_host(lying), rounded(x, precision).transpose(0, 2, 3, 1))
    for array in (be.to_nchw(made), made.copy().to_nchw(), made.reshape(shape)):
        assert np.array_equal(be.to_host(array), rounded(x, precision))
    assert np.array_equal(be.to_host(made.reshape(-1, 1)), rounded(x, precision).reshape(-1, 1))
    assert be.to_nchw(be.asarray(x)).shape == shape  # an array is plain already


@pytest.mark.parametrize("size", [1e-30, 1e-9, 0.7, 1.0, 3000, 1e20])
@pytest.mark.parametrize("most", [1.0, 2.0**-4])
def test_halves_are_scaled_by_a_power_of_two(size, most):
    be = gpu("fp16")
    images, x = be.cudnn.layout, values(2, 5, 6, 7)
    x *= np.float32(size / np.abs(x).max())
    for scaled in (images.tensor(be.asarray(x), most), images.near(most, be.asarray(x))):
        scale, largest = be.to_host(scaled.scale).item(), np.abs(be.to_host(scaled.array)).max()
        assert np.log2(scale).is_integer() and most / 2 <= largest <= most
        near(be.to_host(scaled), x, "fp16")
    other = images.near(1.0, images.near(most, be.asarray(x)))  # from one scale to another
    assert 0.5 <= np.abs(be.to_host(other.array)).max() <= 1
    near(be.to_host(other), x, "fp16")
    if 1e-3 < size < 60000:
        unscaled = images.unscaled(other)
        assert unscaled.scale is None
        near(be.to_host(unscaled), x, "fp16")


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
def test_what_cannot_be_scaled_stays(value):
    be = gpu("fp16")
    images, x = be.cudnn.layout, np.full((1, 2, 3, 4), value, np.float32)
    scaled = images.near(1.0, images.near(1.0, be.asarray(x)))
    assert be.to_host(scaled.scale).item() == 1 and np.array_equal(be.to_host(scaled), x, equal_nan=True)


def test_floats_have_no_scale():
    be = gpu("tf32")
    images, x = be.cudnn.layout, be.asarray(values(1, 2, 3, 4))
    made = images.tensor(x, most=1.0)
    assert made.scale is None and images.near(1.0, made) is made and images.unscaled(made) is made


# -- primitives ------------------------------------------------------------------------------------

POOLS = [
    PoolGeometry((2, 2), (2, 2), (0, 0), (4, 5)),  # Caffe's ceil: the last windows are cut
    PoolGeometry((3, 3), (2, 2), (1, 1), (4, 5)),
    PoolGeometry((7, 9), (1, 1), (0, 0), (1, 1)),
    PoolGeometry((2, 3), (3, 4), (0, 1), (3, 3)),
]


@pytest.mark.parametrize("channels", [5, 12, 16])
@pytest.mark.parametrize("given", ["image", "array"])
@pytest.mark.parametrize("precision", TOLERANCE)
def test_primitives_between_convolutions(precision, given, channels):
    """Gradients may come as images, with a scale, or as arrays."""
    be = gpu(precision)
    images = be.cudnn.layout
    x, dy = (values(2, channels, 7, 9, seed=seed) for seed in (3, 4))
    x, dy = rounded(x, precision), dy * np.float32(1e-9)
    made = images.tensor(be.asarray(x))

    def sent(gradient):
        gradient = be.asarray(gradient)
        return images.tensor(gradient, most=1.0) if given == "image" else gradient

    def agrees(got, expected):
        assert isinstance(got, NhwcTensor)
        near(be.to_host(got), expected, precision)

    for slope in (0.0, 0.25, -0.5):
        y = be.relu_forward(made, slope)
        agrees(y, generic.relu_forward(x, slope))
        kept, expected = (y, generic.relu_forward(x, slope)) if slope >= 0 else (made, x)
        agrees(be.relu_backward(sent(dy), kept, slope), generic.relu_backward(dy, expected, slope))
    y, mask = be.dropout_forward(made, 0.3)
    on = be.to_host(mask.array).transpose(0, 3, 1, 2)
    assert 0.5 < on.mean() < 0.9
    agrees(y, np.where(on, x / np.float32(0.7), 0))
    agrees(be.dropout_backward(sent(dy), mask, 0.3), np.where(on, dy / np.float32(0.7), 0))
    for geometry in POOLS:
        out = values(2, channels, *geometry.out, seed=6) * np.float32(1e-9)
        (y, index), (expected, places) = (b.max_pool_forward(a, geometry) for b, a in ((be, made), (generic, x)))
        agrees(y, expected)
        agrees(be.max_pool(made, geometry), expected)
        assert np.array_equal(be.to_host(index.array).transpose(0, 3, 1, 2), places)
        agrees(
            be.max_pool_backward(sent(out), index, geometry, (7, 9)),
            generic.max_pool_backward(out, places, geometry, (7, 9)),
        )
        agrees(be.ave_pool_forward(made, geometry), generic.ave_pool_forward(x, geometry))
        back = be.ave_pool_backward(sent(out), geometry, (7, 9))  # which keeps nothing: the form of what came
        assert isinstance(back, NhwcTensor) == (given == "image" and precision == "tf32")
        near(be.to_host(back), generic.ave_pool_backward(out, geometry, (7, 9)), precision)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_pieces_of_small_images_are_arrays_of_their_own(precision):
    """Of 1x1 pixels they would lie in one piece with the others, at addresses that no kernel or engine takes."""
    layers = """
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 2 dim: 2 } } }"""
    for name, channels in (("a", 21), ("b", 24)):
        layers += f"""
        layer {{ name: "{name}" type: "Convolution" bottom: "data" top: "{name}"
                 convolution_param {{ num_output: {channels} kernel_size: 2 weight_filler {{ type: "msra" }} }} }}
        layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}"""
    layers += """
        layer { name: "join" type: "Concat" bottom: "a" bottom: "b" top: "join" }
        layer { name: "top" type: "Convolution" bottom: "join" top: "top"
                convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "msra" } } }
        layer { name: "loss" type: "Reduction" bottom: "top" top: "loss" loss_weight: 1 }"""
    inputs = {"data": values(1, 3, 2, 2)}
    expected = run(layers, inputs, generic, "needed")
    for name, array in run(layers, inputs, gpu(precision), "needed").items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=5 * TOLERANCE[precision])


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 40, 40, 37), (3, 33, 2, 2), (2, 4, 0, 3)])
def test_bias_gradients_of_images_are_added(precision, shape):
    be, db, dy = gpu(precision), values(shape[1], seed=1), values(*shape)
    ours = be.asarray(db)
    be.bias_backward(be.cudnn.layout.tensor(be.asarray(dy), most=1.0), ours)
    near(be.to_host(ours), db + dy.sum(axis=(0, 2, 3)), precision)


CONVOLUTIONS = {
    "3x3": (ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1)), (2, 4, 9, 7), 6),
    "stride, group": (ConvGeometry((5, 3), (2, 1), (2, 0), (1, 1), 2), (1, 4, 12, 9), 6),
    "unfolded": (ConvGeometry((7, 6), (1, 1), (0, 0), (1, 1)), (2, 5, 8, 7), 40),
    "unfolded, strided": (ConvGeometry((3, 4), (2, 3), (1, 2), (2, 1)), (1, 3, 6, 7), 64),
}


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_images(precision, name):
    be = gpu(precision)
    images, (geometry, shape, k) = be.cudnn.layout, CONVOLUTIONS[name]
    out = geometry.out_size(shape[2:])
    x, w, b = values(*shape), values(k, shape[1] // geometry.group, *geometry.kernel, seed=4), values(k, seed=5)
    dy, dw = values(shape[0], k, *out, seed=6) * np.float32(1e-9), np.zeros_like(w)
    gw, gdw, made = be.asarray(w), be.zeros(w.shape), images.tensor(be.asarray(x))
    gradient = images.tensor(be.asarray(dy), most=1.0)
    for bias, relu in ((b, None), (b, 0.0), (None, 0.0), (None, None), (b, 0.25)):
        y = be.conv_forward(made, gw, None if bias is None else be.asarray(bias), geometry, relu)
        assert isinstance(y, NhwcTensor)
        near(be.to_host(y), generic.conv_forward(x, w, bias, geometry, relu), precision)
    dx = be.conv_backward(made, gradient, gw, geometry, gdw, True)
    generic.conv_backward_weights(x, dy, geometry, dw)
    near(be.to_host(dx), generic.conv_backward_data(dy, w, geometry, shape[2:]), precision)
    near(be.to_host(gdw), dw, precision)
    # turned round, as a Deconvolution and its way back: gradients far below half's smallest number
    up = be.conv_backward_data(be.asarray(dy), gw, geometry, shape[2:], be.asarray(values(shape[1])), 0.1)
    near(be.to_host(up), generic.conv_backward_data(dy, w, geometry, shape[2:], values(shape[1]), 0.1), precision)
    small = x * np.float32(1e-9)
    for form in (be.asarray(small), images.tensor(be.asarray(small), most=1.0)):
        back = be.conv_forward(form, gw, None, geometry)
        near(be.to_host(back), generic.conv_forward(small, w, None, geometry), precision)
        near(
            be.to_host(be.conv_forward(form, gw, be.asarray(b), geometry, 0.0)),
            generic.conv_forward(small, w, b, geometry, 0.0),
            precision,
        )


@pytest.mark.parametrize("precision", TOLERANCE)
def test_bias_and_relu_stay_out_where_they_would_cost_the_tensor_cores(precision, on_a_gpu):
    if on_a_gpu:
        pytest.skip("of cuDNN's stand-in")
    be, geometry = gpu(precision), ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))
    x, w, b = values(1, 32, 6, 5), values(40, 32, 3, 3, seed=4) / 10, values(40, seed=5)
    fake_cudnn.without_cores.update({(1, 40, 6, 5), (1, 40, 6, 6)})
    arrays = [be.asarray(array) for array in (x, w, b)]
    for relu in (None, 0.0, 0.25):
        near(
            be.to_host(be.conv_forward(*arrays, geometry, relu)),
            generic.conv_forward(x, w, b, geometry, relu),
            precision,
        )
    plans = be.cudnn.planner.plans.values()
    assert plans and all(plan.spec == plan.spec.plain for plan in plans)
    wider = values(1, 32, 6, 6)  # a new size asks no heuristics
    fake_cudnn.counts.heuristics = 0
    near(
        be.to_host(be.conv_forward(be.asarray(wider), *arrays[1:], geometry, 0.0)),
        generic.conv_forward(wider, w, b, geometry, 0.0),
        precision,
    )
    assert fake_cudnn.counts.heuristics == 0


# -- whole nets ------------------------------------------------------------------------------------


def run(text, inputs, backend, keep):
    net = Net(text, "TRAIN" if keep == "needed" else "TEST", backend=backend, seed=3, keep=keep)
    for _ in range(2):  # the second run finds everything built
        net.forward(inputs)
        if keep != ["conv2"]:
            net.clear_grads()
            net.backward()
    to_host = net.backend.to_host
    found = {name: to_host(array) for name, array in net.blobs.items()}
    found |= {f"d {name}": to_host(array) for name, array in net.grads.items()}
    return found | {
        f"{name}[{i}]": to_host(p.grad)
        for name, params in net.params.items()
        for i, p in enumerate(params)
        if p.grad is not None and keep != ["conv2"]
    }


@pytest.mark.parametrize("keep", ["needed", "all", ["conv2"]], ids=str)
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("net", ["fcn", "mixed"])
def test_a_whole_net_agrees_with_plain_arrays(net, precision, keep):
    text, inputs = (FCN, image()) if net == "fcn" else (MIXED, {"data": values(2, 3, 23, 18)})
    expected = run(text, inputs, generic, keep)
    for name, array in run(text, inputs, gpu(precision), keep).items():
        # of halves some ReLUs and maxima are others: a few pixels' gradients are far off, their sum is not
        error = np.linalg.norm(array - expected[name]) / max(np.linalg.norm(expected[name]), 1e-30)
        assert array.dtype == np.float32 and error < WHOLE[precision], (name, error)


@pytest.mark.parametrize("precision, turn", [("tf32", "turn"), ("fp16", "turn_to_half")])
def test_a_chain_of_layers_turns_its_first_image_only(precision, turn, on_a_gpu):
    if on_a_gpu:
        pytest.skip("only the pretend device counts launches")
    layers = """
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 10 } } }"""
    bottom = "data"
    for i in range(3):
        layers += f"""
        layer {{ name: "conv{i}" type: "Convolution" bottom: "{bottom}" top: "conv{i}"
                 convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}
        layer {{ name: "relu{i}" type: "ReLU" bottom: "conv{i}" top: "conv{i}" }}
        layer {{ name: "pool{i}" type: "Pooling" bottom: "conv{i}" top: "pool{i}"
                 pooling_param {{ kernel_size: 2 stride: 2 }} }}
        layer {{ name: "drop{i}" type: "Dropout" bottom: "pool{i}" top: "pool{i}" }}"""
        bottom = f"pool{i}"
    layers += f"""
        layer {{ name: "loss" type: "Reduction" bottom: "{bottom}" top: "loss" loss_weight: 1 }}"""
    be = gpu(precision)
    net = Net(layers, "TRAIN", backend=be, seed=1)
    net.forward({"data": values(1, 3, 12, 10)})
    be.runtime.launches.clear()
    with be.frozen_weights():
        net.forward()
        launches = list(be.runtime.launches)
        net.clear_grads()
        net.backward()
    back = {"turn": "turn", "turn_to_half": "turn_from_half"}[turn]
    assert launches.count(turn) - (turn == back) == 1 + 3  # the data, and three times weights
    assert launches.count(back) - (turn == back) * 4 == 1  # what Reduction takes
    assert be.runtime.launches[len(launches) :].count(turn) == 2  # its gradient, and the data once more
    assert not set(be.runtime.launches[len(launches) :]) & {"turn_from_half"}


def test_a_user_may_write_into_the_blobs_of_a_net_that_keeps_them():
    be = gpu("tf32")
    net = Net(MIXED, backend=be, seed=3, keep="all")
    net.forward({"data": values(2, 3, 23, 18)}, end="conv2")
    net.blobs["conv1"][...] = 1
    net.forward(start="prelu", end="conv2")
    found = be.to_host(net.blobs["conv2"])
    assert np.ptp(found[0, 0]) < 1e-5 * np.abs(found).max()


CHAIN = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 8 } } }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
        convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2"
        convolution_param { num_output: 7 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "c2" top: "c2" }
layer { name: "c3" type: "Convolution" bottom: "c2" top: "c3"
        convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "loss" type: "Reduction" bottom: "c3" top: "loss" loss_weight: 1 reduction_param { operation: SUMSQ } }
"""


def written_into(backend, keep, way):
    """The gradient of c1's weights where a user has written into a gradient or a blob on the way."""
    net = Net(CHAIN, "TRAIN", backend=backend, seed=3, keep=keep)
    if way == "hook":
        c2 = net.layer_names.index("c2")
        net.after_backward.append(lambda i: net.grads["c1"].fill(0) if i == c2 else None)
    net.forward({"data": values(1, 3, 9, 8)})
    if way == "blob":
        net.blobs["c2"][...] = -1
    net.backward(end="c2" if way == "gradient" else None)
    if way == "gradient":
        net.grads["c1"][...] *= np.float32(0.5)
        net.backward(start="c1")
    return net.backend.to_host(net.params["c1"][0].grad)


@pytest.mark.parametrize(
    "keep, way",
    [
        ("needed", "gradient"),
        ("needed", "hook"),
        (["c1"], "gradient"),
        ("all", "gradient"),
        ("all", "hook"),
        ("all", "blob"),
    ],
)
@pytest.mark.parametrize("precision", TOLERANCE)
def test_what_a_user_writes_on_the_way_counts(precision, keep, way):
    near(written_into(gpu(precision), keep, way), written_into(generic, keep, way), precision)


@pytest.mark.parametrize("std", [0.001, 1])
def test_gradients_through_many_deconvolutions_stay_in_range(std):
    layers = """
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 8 dim: 3 dim: 3 } } }"""
    bottom = "data"
    for i in range(5):
        layers += f"""
        layer {{ name: "d{i}" type: "Deconvolution" bottom: "{bottom}" top: "d{i}"
                 convolution_param {{ num_output: 8 kernel_size: 4 stride: 1 pad: 1 bias_term: false
                                      weight_filler {{ type: "gaussian" std: {std} }} }} }}"""
        bottom = f"d{i}"
    layers += f"""
        layer {{ name: "loss" type: "Reduction" bottom: "{bottom}" top: "loss" loss_weight: 1e-6 }}"""
    inputs = {"data": values(1, 8, 3, 3)}
    expected, found = (run(layers, inputs, be, "needed") for be in (generic, gpu("fp16")))
    for i in range(5):
        error = np.linalg.norm(found[f"d{i}[0]"] - expected[f"d{i}[0]"]) / np.linalg.norm(expected[f"d{i}[0]"])
        assert error < 1e-2, (i, error)


def test_average_pooling_of_large_windows_loses_no_gradients():
    be, geometry = gpu("fp16"), PoolGeometry((200, 150), (1, 1), (0, 0), (1, 1))
    dy = values(1, 8, 1, 1) * np.float32(0.01)
    back = be.ave_pool_backward(be.cudnn.layout.tensor(be.asarray(dy)), geometry, (200, 150))
    near(be.to_host(back), generic.ave_pool_backward(dy, geometry, (200, 150)), "fp16")


def test_dropout_draws_the_same_in_every_form():
    masks = []
    for precision in ("fp32", "tf32", "fp16"):
        be = gpu(precision)
        x = be.asarray(np.ones((2, 5, 4, 3), np.float32))
        x = be.cudnn.layout.tensor(x) if be.capabilities.nhwc else x
        masks.append(be.to_host(be.dropout_forward(x, 0.5)[0]))
    assert np.array_equal(masks[0], masks[1]) and np.array_equal(masks[0], masks[2]) and 0 < masks[0].mean() < 2


@pytest.mark.parametrize("precision", TOLERANCE)
def test_weights_loaded_while_they_were_said_to_be_steady_count(precision):
    be = gpu(precision)
    net = Net(CHAIN, backend=be, seed=3, keep=["c3"])
    with be.frozen_weights():
        net.forward({"data": values(1, 3, 9, 8)})
        net.load({"c3": [np.zeros((5, 7, 1, 1), np.float32), np.zeros(5, np.float32)]})
        net.forward()
        assert not be.to_host(net.blobs["c3"]).any()


def test_strict_precision_has_no_images():
    be = gpu("fp32")
    assert not be.capabilities.nhwc
    y = be.conv_forward(be.asarray(values(1, 4, 5, 5)), be.asarray(values(3, 4, 3, 3)), None, CONVOLUTIONS["3x3"][0])
    assert isinstance(y, be.xp.ndarray)


@pytest.mark.parametrize("precision, turn", [("tf32", "turn"), ("fp16", "turn_to_half")])
def test_inference_turns_nothing_for_what_follows_a_convolution(precision, turn, on_a_gpu):
    if on_a_gpu:
        pytest.skip("only the pretend device counts launches")
    be = gpu(precision)
    net = Net(MIXED.replace("force_backward: true", ""), backend=be, seed=3)
    be.runtime.launches.clear()
    net.forward({"data": values(2, 3, 23, 18)}, end="conv3")
    assert be.runtime.launches.count(turn) == 1 + 3 + (turn == "turn")  # data, weights; at the end, what is returned
