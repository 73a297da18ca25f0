"""Nets and solvers of 2013 and 2014 in today's form, each layer's place still that of its text."""

import pytest

from demitasse.proto import messages, text, upgrade
from demitasse.proto.errors import SchemaFault

V0 = """\
name: "AlexNet of 2013"
input: "data"
input_dim: 10 input_dim: 3 input_dim: 227 input_dim: 227
layers {
  layer { name: "pad1" type: "padding" pad: 2 }
  bottom: "data"
  top: "pad1"
}
layers {
  layer {
    name: "conv1"
    type: "conv"
    num_output: 96
    kernelsize: 11
    stride: 4
    biasterm: false
    weight_filler { type: "gaussian" std: 0.01 }
    blobs_lr: 1. blobs_lr: 2.
    weight_decay: 1. weight_decay: 0.
  }
  bottom: "pad1"
  top: "conv1"
}
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 } bottom: "conv1" top: "pool1" }
layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.0001 beta: 0.7 k: 2 } bottom: "pool1" top: "norm1" }
layers { layer { name: "fc8" type: "innerproduct" num_output: 1000 } bottom: "norm1" top: "fc8" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.3 } bottom: "fc8" top: "fc8" }
layers {
  layer { name: "loss" type: "softmax_loss" }
  bottom: "fc8"
  bottom: "data"
}
"""

V1 = """\
input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layers { name: "im" type: IMAGE_DATA top: "im" top: "label"
  image_data_param { source: "list.txt" scale: 0.5 mean_file: "mean.binaryproto" crop_size: 5 mirror: true } }
layers {
  name: "c" type: CONVOLUTION bottom: "data" top: "c"
  blobs_lr: 1 blobs_lr: 2
  weight_decay: 1 weight_decay: 0
  param: "shared"
  blob_share_mode: PERMISSIVE
  include { phase: TRAIN }
  convolution_param { num_output: 2 kernel_size: 3 }
}
layers { name: "loss" type: SIGMOID_CROSS_ENTROPY_LOSS bottom: "c" bottom: "label" loss_weight: 0.5 }
"""


def test_v0():
    net, wheres = text.read_net(V0, "old.prototxt")
    assert [(layer.name, layer.type) for layer in net.layer] == [
        ("input", "Input"),
        ("conv1", "Convolution"),
        ("relu1", "ReLU"),
        ("pool1", "Pooling"),
        ("norm1", "LRN"),
        ("fc8", "InnerProduct"),
        ("drop", "Dropout"),
        ("loss", "SoftmaxWithLoss"),
    ]
    assert not net.layers and not net.input and not net.input_dim and net.name == "AlexNet of 2013"
    conv, pool, norm = net.layer[1], net.layer[3].pooling_param, net.layer[4].lrn_param
    assert list(conv.bottom) == ["data"]  # past the padding layer, whose pad it took
    assert list(conv.convolution_param.pad) == [2] and list(conv.convolution_param.stride) == [4]
    assert list(conv.convolution_param.kernel_size) == [11] and not conv.convolution_param.bias_term
    assert conv.convolution_param.weight_filler.type == "gaussian"
    assert [(param.lr_mult, param.decay_mult) for param in conv.param] == [(1, 1), (2, 0)]
    assert (pool.pool, pool.kernel_size, pool.stride) == (messages.PoolingParameter.AVE, 3, 2)
    assert (norm.local_size, norm.k) == (3, 2) and norm.beta == pytest.approx(0.7)
    assert net.layer[5].inner_product_param.num_output == 1000
    assert net.layer[6].dropout_param.dropout_ratio == pytest.approx(0.3)
    assert [where.line for where in wheres] == [2, 9, 24, 25, 26, 27, 28, 29]
    assert wheres[1].fields["convolution_param.kernel_size"].line == 14
    assert wheres[1].fields["convolution_param.weight_filler.std"].line == 17
    assert wheres[1].fields["param[1].lr_mult"].line == 18
    assert wheres[0].fields["input_param.shape[0].dim[3]"].column == 54


def test_v0_data_layers():
    source = (
        'layers { top: "d" layer { name: "d" type: "images" source: "l.txt" batchsize: 8 scale: 0.1 '
        'meanfile: "m" cropsize: 9 mirror: true shuffle_images: true new_height: 3 new_width: 4 '
        "rand_skip: 2 } }\n"
        'layers { top: "w" layer { name: "w" type: "window_data" source: "w.txt" det_fg_threshold: 0.7 '
        'det_context_pad: 6 det_crop_mode: "square" } }\n'
    )
    images, window = text.read_net(source)[0].layer
    param = images.image_data_param
    assert (param.source, param.batch_size, param.shuffle, param.new_height, param.new_width, param.rand_skip) == (
        "l.txt",
        8,
        True,
        3,
        4,
        2,
    )
    transform = images.transform_param
    assert (transform.mean_file, transform.crop_size, transform.mirror) == ("m", 9, True)
    assert transform.scale == pytest.approx(0.1) and not param.HasField("scale")
    assert window.window_data_param.fg_threshold == pytest.approx(0.7)
    assert (window.window_data_param.context_pad, window.window_data_param.crop_mode) == (6, "square")


@pytest.mark.parametrize(
    "old, new, says",
    [
        ('type: "pool"', 'type: "polling"', "old.prototxt:25:1: layer 'pool1': unknown V0 layer type 'polling'"),
        ('type: "conv"\n', 'type: "relu"\n', "a padding layer ('pad1') can only be followed by conv or pool"),
        ('bottom: "pad1"', 'bottom: "pad1" bottom: "data"', "need a single bottom and top each"),
    ],
)
def test_a_mistake_in_v0(old, new, says):
    with pytest.raises(SchemaFault) as caught:
        text.read_net(V0.replace(old, new), "old.prototxt")
    assert says in str(caught.value)


def test_a_v0_field_of_another_type_is_dropped_with_a_warning():
    source = 'layers { top: "r" bottom: "r" layer { name: "r" type: "relu" kernelsize: 3 } }\n'
    with pytest.warns(UserWarning, match="'r': 'kernelsize' means nothing"):
        assert text.read_net(source)[0].layer[0].type == "ReLU"


def test_v1():
    net, wheres = text.read_net(V1, "old.prototxt")
    assert [layer.type for layer in net.layer] == ["Input", "ImageData", "Convolution", "SigmoidCrossEntropyLoss"]
    assert list(net.layer[0].input_param.shape[0].dim) == [1, 3, 8, 8]
    images, conv, loss = net.layer[1:]
    assert (
        images.transform_param.scale,
        images.transform_param.mean_file,
        images.transform_param.crop_size,
        images.transform_param.mirror,
    ) == (0.5, "mean.binaryproto", 5, True)
    assert images.image_data_param.source == "list.txt" and not images.image_data_param.HasField("scale")
    assert [(param.name, param.lr_mult, param.decay_mult) for param in conv.param] == [("shared", 1, 1), ("", 2, 0)]
    assert conv.param[0].share_mode == messages.ParamSpec.PERMISSIVE
    assert conv.include[0].phase == messages.TRAIN and list(conv.convolution_param.kernel_size) == [3]
    assert list(loss.loss_weight) == [0.5]
    assert [where.line for where in wheres] == [1, 2, 4, 13]
    assert wheres[2].fields["param[1].decay_mult"].line == 7
    assert wheres[2].fields["param[0].name"].line == 8


def test_every_v1_type_has_todays_name():
    names = {
        value.name: upgraded_type(value.name)
        for value in messages.V1LayerParameter.LayerType.DESCRIPTOR.values
        if value.name != "NONE"
    }
    assert set(names.values()) == set(
        "AbsVal Accuracy ArgMax BNLL Concat ContrastiveLoss Convolution Data Deconvolution Dropout DummyData "
        "EuclideanLoss Eltwise Exp Flatten HDF5Data HDF5Output HingeLoss Im2col ImageData InfogainLoss InnerProduct "
        "LRN MemoryData MultinomialLogisticLoss MVN Pooling Power ReLU Sigmoid SigmoidCrossEntropyLoss Silence "
        "Softmax SoftmaxWithLoss Split Slice TanH WindowData Threshold "
        "BN ColinearConvolution Crop DenseImageData ImageSegData Interp MatWrite MultiStageMeanfield Padding "
        "SegAccuracy Upsample VideoData VideoSegmentationData VideoWithVoxelTruthData "
        "K1_EuclideanLoss K2_EuclideanLoss Local MultiLabelLoss MultiLabelAccuracy".split()
    )


def upgraded_type(name):
    net = messages.NetParameter()
    net.layers.add(type=messages.V1LayerParameter.LayerType.Value(name))
    upgrade.upgrade_net(net)
    return net.layer[0].type


def test_blobs_travel():
    net = messages.NetParameter()
    net.layers.add(name="c").blobs.add(data=[1, 2], num=1, channels=1, height=1, width=2)
    net.layers.add().layer.blobs.add(data=[3])
    net.layers[1].layer.type = "conv"
    upgrade.upgrade_net(net)
    assert [list(layer.blobs[0].data) for layer in net.layer] == [[1, 2], [3]]


def test_inputs():
    net, _ = text.read_net('input: "a" input: "b" input_dim: [1, 2, 3, 4, 5, 6, 7, 8]\nlayer { name: "input" }\n')
    assert [layer.name for layer in net.layer] == ["input_", "input"]
    assert [list(shape.dim) for shape in net.layer[0].input_param.shape] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    bare, _ = text.read_net('input: "data"\n')
    assert list(bare.layer[0].top) == ["data"] and not bare.layer[0].input_param.shape


@pytest.mark.parametrize(
    "source, says",
    [
        ('input: "a"\ninput_dim: 1', "2:1: 1 inputs but 1 input_dim: four for each are needed"),
        ('input: "a" input: "b"\ninput_shape { }', "2:1: 2 inputs but 1 input_shape: one for each is needed"),
        ('input: "a"\ninput_shape { } input_dim: [1,1,1,1]', "not both"),
    ],
)
def test_a_mistake_in_the_inputs(source, says):
    with pytest.raises(SchemaFault) as caught:
        text.read_net(source + "\n")
    assert says in str(caught.value)


def test_batch_norm_is_out_of_the_solvers_hands():
    net, _ = text.read_net(
        'layer { type: "BatchNorm" param { } param { lr_mult: 1 } param { } }\n'
        'layer { type: "BatchNorm" param { lr_mult: 1 } }\n'
    )
    assert [(param.lr_mult, param.decay_mult) for param in net.layer[0].param] == [(0, 0)] * 3
    assert net.layer[1].param[0].lr_mult == 1


@pytest.mark.parametrize(
    "old, new",
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"),
    ],
)
def test_solver_type(old, new):
    solver, _ = text.read_solver(f"solver_type: {old}\n")
    assert solver.type == new and not solver.HasField("solver_type")


def test_both_solver_types_are_a_mistake():
    with pytest.raises(SchemaFault, match="2:1: the solver has both"):
        text.read_solver('type: "Adam"\nsolver_type: SGD\n')


def test_layers_of_both_forms_come_in_the_order_of_the_text():
    source = """
    layer { name: "data" type: "Input" top: "data" }
    layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 3 }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layers { name: "prob" type: "Softmax" bottom: "conv" top: "prob" }
    """
    with pytest.warns(UserWarning, match="n.prototxt:3:5: the net has both `layer` and `layers`"):
        net, wheres = text.read_net(source, "n.prototxt")
    assert [(layer.name, layer.type) for layer in net.layer] == [
        ("data", "Input"),
        ("conv", "Convolution"),
        ("relu", "ReLU"),
        ("prob", "Softmax"),
    ]
    assert [where.line for where in wheres] == [2, 3, 4, 5] and net.layer[1].param[0].lr_mult == 3


def test_layers_of_both_forms_without_a_text_have_no_order():
    net = messages.NetParameter(layer=[messages.LayerParameter(name="a")], layers=[messages.V1LayerParameter(name="b")])
    with pytest.raises(SchemaFault, match="both `layer` and `layers`"):
        upgrade.upgrade_net(net)
