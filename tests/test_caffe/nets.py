"""Small nets that the facade's tests run."""

import caffe

INPUTS = """
name: "small" force_backward: true
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
"""
TRUNK = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 5 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.5 }
                      bias_filler { type: "constant" value: 0.5 } } }
layer { name: "sum" type: "Eltwise" bottom: "conv2" bottom: "conv2" top: "sum" }
"""
SMALL = INPUTS + TRUNK
LOSSY = (
    """
name: "lossy"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 dim: 1 dim: 4 dim: 4 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
"""
    + TRUNK
    + """
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" loss_weight: 2 }
"""
)


def write(folder, text=SMALL, name="net.prototxt"):
    """The path of a prototxt with this text."""
    path = folder / name
    path.write_text(text)
    return str(path)


def build(folder, text=SMALL, phase=caffe.TEST, **options):
    return caffe.Net(write(folder, text), phase, **options)
