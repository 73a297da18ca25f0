"""Small nets of many forms, from one file at several sizes, folded, at fixed sizes, and back again."""

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.onnx.back import import_file
from tests.test_onnx.conditioned import condition
from tests.test_onnx.peers import differences, run


def layers(text):
    """Layers of lines `name Type bottoms > tops | fields`; an input's line is `name = sizes`, `*` for none."""
    written = ""
    for line in text.strip().split("\n"):
        if "=" in line.split("|")[0]:
            name, sizes = line.split(" = ")
            dims = " ".join(f"dim: {size}" for size in sizes.split() if size != "*")
            written += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
            continue
        wires, _, fields = line.partition(" | ")
        first, _, tops = wires.partition(" > ")
        name, kind, *bottoms = first.split()
        ends = [f'bottom: "{blob}"' for blob in bottoms] + [f'top: "{blob}"' for blob in tops.split()]
        written += f'layer {{ name: "{name}" type: "{kind}" {" ".join(ends)} {fields} }}\n'
    return written


FORMS = {
    "odd_windows": (
        """data = 2 3 23 31
c1 Convolution data > c1 | convolution_param { num_output: 6 kernel_h: 5 kernel_w: 2 pad_h: 3 pad_w: 1 stride: 2 }
r1 ReLU c1 > c1 | relu_param { negative_slope: 0.2 }
c2 Convolution c1 > c2 | convolution_param { num_output: 9 kernel_size: 3 dilation: 2 pad: 3 group: 3 }
p2 Pooling c2 > p2 | pooling_param { pool: MAX kernel_size: 3 stride: 3 pad: 1 }
p3 Pooling c2 > p3 | pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 stride: 2 pad_h: 1 pad_w: 0 }
d1 Deconvolution p2 > d1 | convolution_param { num_output: 6 kernel_h: 4 kernel_w: 3 stride: 2 group: 3 }""",
        [{"data": (1, 3, 19, 40)}, {"data": (3, 3, 33, 17)}],
    ),
    "in_place": (
        """data = 2 3 9 10
scale Scale data > data | scale_param { bias_term: true }
elu ELU data > data | elu_param { alpha: 0.7 }
bn BatchNorm data > data
drop Dropout data > data
power Power data > data | power_param { power: 2 scale: 1.5 shift: -0.3 }
c Convolution data > c | convolution_param { num_output: 4 kernel_size: 1 }
bn2 BatchNorm c > c
s2 Scale c > c
b2 Bias c > c
tanh TanH c > t""",
        [{"data": (2, 3, 12, 17)}],
    ),
    "slices": (
        """data = 4 4 6 8
s0 Slice data > a b | slice_param { axis: 0 slice_point: 1 }
s1 Slice a > a1 a2 | slice_param { axis: -2 slice_point: 2 }
s2 Slice b > b1 b2 b3 | slice_param { axis: 3 slice_point: 3 slice_point: 4 }
cc Concat b1 b3 > cc | concat_param { axis: -1 }
cd Concat a1 a2 > cd | concat_param { axis: 2 }
crop Crop data cd > crop | crop_param { axis: 3 offset: 0 }
quiet Silence b2""",
        [{"data": (4, 4, 5, 7)}, {"data": (6, 4, 8, 9)}],
    ),
    "shapes": (
        """data = 2 6 4 5
r1 Reshape data > r1 | reshape_param { shape { dim: 0 dim: 2 dim: 3 dim: -1 } }
r2 Reshape data > r2 | reshape_param { shape { dim: 3 dim: 2 } axis: 1 num_axes: 1 }
f1 Flatten data > f1 | flatten_param { axis: 1 end_axis: 2 }
tile Tile f1 > tile | tile_param { axis: -1 tiles: 2 }
mean Reduction tile > mean | reduction_param { operation: MEAN axis: 2 }
most ArgMax data > most | argmax_param { top_k: 2 axis: 1 out_max_val: true }""",
        [{"data": (5, 6, 7, 5)}],
    ),
    "recurrent": (
        """x = 7 3 6
cont = 7 3
h = 2 3 5
c = 7 5
lstm LSTM x cont > lstm | recurrent_param { num_output: 5 }
stack StackedLSTM x cont h h > stack hid cell | recurrent_param { num_output: 5 num_layers: 2 expose_hidden: true }
turned StackedLSTM x cont c c > turned | recurrent_param { num_output: 5 num_layers: 2 batch_first: true \
expose_hidden_input: true auto_repeat_hidden_states_across_layers: true }
rnn RNN lstm cont > rnn | recurrent_param { num_output: 4 }
score InnerProduct rnn > score | inner_product_param { num_output: 3 axis: 2 }""",
        [{"x": (9, 2, 6), "cont": (9, 2), "h": (2, 2, 5), "c": (9, 5)}],
    ),
    "words": (
        """ids = 3 5
word Embed ids > word | embed_param { num_output: 6 input_dim: 8 }
sum Reduction word > sum | reduction_param { operation: ASUM axis: 2 }""",
        [{"ids": (4, 9)}],
    ),
    "regions": (
        """data = 2 4 16 20
rois = 5 5
roi ROIPooling data rois > roi | roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.25 }
score InnerProduct roi > score | inner_product_param { num_output: 6 }""",
        [{"data": (2, 4, 20, 24), "rois": (7, 5)}],
    ),
    "without_axes": (
        """data = 2 3 4 5
factor = *
s Scale data factor > s | scale_param { axis: 0 }
mean Reduction s > mean | reduction_param { operation: MEAN }
shift Bias s mean > shift | bias_param { axis: 0 }""",
        [{"data": (3, 3, 6, 2)}],
    ),
}


def values(net, shapes):
    random, arrays = np.random.default_rng(1), {}
    for name in net.inputs:
        shape = shapes.get(name, net.shapes[name])
        array = random.integers(0, 3, shape) if name == "ids" else random.standard_normal(shape)
        if name == "cont":
            array = np.ones(shape) * (np.arange(shape[0]) > 0)[:, None]
        if name == "rois":
            array = np.concatenate([np.arange(shape[0])[:, None] % 2, np.abs(array[:, 1:]) * 5 + [0, 0, 30, 40]], 1)
        arrays[name] = np.asarray(array, np.float32)
    return arrays


@pytest.mark.parametrize("form", FORMS)
def test_forms(form, tmp_path):
    text, sizes = FORMS[form]
    net = Net(layers(text))
    inputs = values(net, {})
    condition(net, inputs)
    for way in ({}, {"fold": True}):
        net.to_onnx(tmp_path / "net.onnx", **way)
        for shapes in ({}, *sizes):
            given = values(net, shapes)
            assert differences(run(tmp_path / "net.onnx", given), net.forward(given)) == []
    expected = {blob: np.array(array) for blob, array in net.forward(inputs).items()}
    net.to_onnx(tmp_path / "net.onnx", fixed=True)
    assert differences(run(tmp_path / "net.onnx", inputs), expected) == []
    import_file(str(tmp_path / "net.onnx"), str(tmp_path / "out"), {})
    weights = str(tmp_path / "out/net.caffemodel") if net.params else None
    back = Net(tmp_path / "out/net.prototxt", weights=weights)
    assert differences(back.forward(inputs), expected, 1e-6) == []
