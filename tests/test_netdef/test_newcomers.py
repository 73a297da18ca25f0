"""What newcomers write, and what forks and other frameworks call things: one line with the remedy."""

import pytest

from demitasse.layers.layer import layer_types
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError
from demitasse.proto.name_hints import fork_hint
from demitasse.proto.text import read_solver

DATA = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'


def layer(kind: str, rest: str = "") -> str:
    return f'layer {{ name: "c" type: "{kind}" bottom: "d" top: "c" {rest} }}\n'


def conv(rest: str) -> str:
    return layer("Convolution", f"convolution_param {{ num_output: 2 kernel_size: 3 {rest} }}")


NETS = [
    (layer("Debug", "debug_param { n: 30 }"), "2:1: layer 'c' (Debug): unknown layer type 'Debug' (of MyCaffe)"),
    (
        layer("Debug", "debug_param { }") + layer("UnPooling") + layer("TRT") + layer("Mine"),
        "nor are these types of the net known: UnPooling (of MyCaffe), TRT (of NVIDIA), Mine",
    ),
    (layer("Mine") + layer("Mine2"), "nor are these types of the net known: Mine2"),
    (layer("CrossEntropyLoss"), "unknown layer type 'CrossEntropyLoss' (Caffe's word is SoftmaxWithLoss)"),
    (layer("Conv2d"), "(Caffe's word is Convolution)"),
    (layer("Linear"), "(Caffe's word is InnerProduct)"),
    (layer("max_pool"), "(Caffe's word is Pooling with pool: MAX)"),
    (
        'layer { name: "c" convolution_param { num_output: 1 } } type: "Convolution" }\n',
        "2:57: NetParameter has no field 'type': is the '}' of line 2 one too many? It closes layer",
    ),
    (
        layer("Convolution", "convolution_param { num_output: 1 } kernel_size: 3 }"),
        "no field 'kernel_size': is the '}' of line 2 one too many? It closes convolution_param",
    ),
    (layer("Pooling", "pooling_param { pool: Max }"), "one of MAX, AVE, STOCHASTIC (did you mean 'MAX'?), not Max"),
    (
        layer("Dropout", "dropout_param { dropout_ratio: 0,5 }"),
        "0,5 has a comma where a decimal point belongs: write 0.5",
    ),
    (conv("filters: 4"), "no field 'filters': Caffe's word is num_output"),
    (conv("paddding: 1"), "ConvolutionParameter has no field 'paddding' (did you mean 'pad'?)"),
    (
        conv("weight_filler { type: 'gaussian' std: nan }"),
        "has std nan: give a finite number",
    ),
    (conv("weight_filler { type: 'gaussian' std: -1 }"), "it must not be negative"),
    (
        conv("weight_filler { type: 'bilinear' }").replace("kernel_size: 3", "kernel_h: 3 kernel_w: 2"),
        "filler 'bilinear' needs a 4-D array with a square kernel, not shape (2, 3, 3, 2)",
    ),
    (layer("BatchNorm", "batch_norm_param { moving_average_fraction: 2 }"), "2 is not a share from 0 to 1"),
    (conv("padding: 1"), "no field 'padding': Caffe's word is pad"),
    (conv('activation: "relu"'), 'an activation is a layer of its own: type: "ReLU"'),
    (
        conv('weight_filler: "xavier"'),
        '\'{\' expected after weight_filler, not "xavier": write weight_filler { type: "xavier" }',
    ),
    (layer("ReLU", "include: TRAIN"), "write include { phase: TRAIN }"),
    ('layer { name = "c" }\n', "unexpected character '=': a value follows a colon"),
    ("// a comment\n", "not '/': a comment begins with #"),
    ("/* a comment */\n", "unexpected character '*': a comment begins with #"),
    ("layer { name: \u201cc\u201d }\n", 'quotes are straight (")'),
    ("layer {\u00a0name: 'c' }\n", "a no-break space, as web pages have it"),
    ("layer { loss_weight: \u22121 }\n", "another character than the minus sign: write loss_weight: -1"),
    (
        layer("Reshape", "reshape_param { shape { dim: (1, 2) } }"),
        "several values stand in brackets: write dim: [1, 2]",
    ),
    (layer("Power", "power_param { scale: 10^-3 }"), "nothing is computed here: write scale: 0.001"),
    ("<<<<<<< HEAD\n", "is it the mark of an unsettled git merge?"),
    ('{ "name": "x" }\n', "JSON is not prototxt"),
]


def test_a_net_that_begins_with_nothing():
    with pytest.raises(NetError, match="which no layer makes; there are none: begin with a data layer or an Input"):
        Plan(layer("ReLU"), "TEST")


def test_no_known_type_is_called_a_fork_s():
    assert not [name for name in layer_types() if fork_hint(name)]


@pytest.mark.parametrize("text, says", NETS, ids=[says[-30:] for _, says in NETS])
def test_a_net_of_a_newcomer(text, says):
    with pytest.raises(NetError) as caught:
        Plan(DATA + text, "TEST")
    assert says in str(caught.value) and "\n" not in str(caught.value) and str(caught.value.where).startswith("2")


@pytest.mark.parametrize(
    "text, says",
    [
        ("base_lr: 0,0001", "1:11: base_lr: 0,0001 has a comma where a decimal point belongs: write 0.0001"),
        ("lr: 0.1", "no field 'lr': Caffe's word is base_lr"),
        ('optimizer: "Adam"', "no field 'optimizer': Caffe's word is type"),
        ("epochs: 3", "max_iter is the epochs times the images by the batch"),
        ("batch_size: 3", "it belongs to the net's data layer"),
        ('solver_mode: "GPU"', "solver_mode takes one of CPU, GPU, without quotes"),
    ],
)
def test_a_solver_of_a_newcomer(text, says):
    with pytest.raises(NetError) as caught:
        read_solver(text + "\n")
    assert says in str(caught.value)


def test_commas_between_fields_and_in_lists_are_no_decimal_points():
    Plan(DATA + layer("Reshape", "reshape_param { shape { dim: [1,3,8,8] }, axis: 0,num_axes: -1 }"), "TEST")
