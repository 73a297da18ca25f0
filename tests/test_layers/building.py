"""A layer built from prototxt text, for tests of single layers."""

import numpy as np

from demitasse.layers.backend import make_backend
from demitasse.layers.layer import TRAIN, layer_class
from demitasse.proto.text import read_net


def build(text, *shapes, phase=TRAIN, dtype="float64", **fields):
    """The layer that `text` (the inside of layer { }) describes, set up for bottoms of these shapes, on the generic
    backend, with its params filled by standard normal values and gradients of zeros; fields are set on the layer."""
    net, _ = read_net("layer { name: 'L' " + text + " }\n", "test.prototxt")
    spec = net.layer[0]
    be = make_backend("generic", dtype=dtype)
    be.seed(0)
    layer = layer_class(spec.type)(spec, phase, be)
    for name, value in fields.items():
        setattr(layer, name, value)
    layer.params = layer.setup(list(shapes))
    layer.infer(list(shapes))
    for param in layer.params:
        param.data = be.asarray(be.rng.standard_normal(param.shape)) if param.data is None else param.data
        param.grad = be.zeros(param.shape)
    return layer


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)
