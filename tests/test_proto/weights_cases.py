"""Layers of weights to write, and comparing what is read back."""

import h5py
import numpy as np

from demitasse.proto import messages


def assert_equal_bits(read, expected):
    assert {name: [values.shape for values in arrays] for name, arrays in read.items()} == {
        name: [values.shape for values in arrays] for name, arrays in expected.items()
    }
    for name, arrays in expected.items():
        for mine, theirs in zip(read[name], arrays, strict=True):
            assert mine.dtype == np.float32 and mine.tobytes() == theirs.tobytes(), name


def content(path):
    """Everything that HDF5 keeps of a file: groups, and type, shape and bytes of the datasets."""
    found = {}

    def visit(name, item):
        found[name] = (
            "group"
            if isinstance(item, h5py.Group)
            else (item.id.get_type().get_size(), item.dtype.str, item.shape, item[()].tobytes())
        )

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def older_net():
    net = messages.NetParameter(name="old")
    v0 = net.layers.add(bottom=["data"], top=["c0"])
    v0.layer.name, v0.layer.type, v0.layer.num_output = "c0", "conv", 2
    v0.layer.blobs.add(data=[1, 2], num=2, channels=1, height=1, width=1)
    v1 = net.layers.add(name="c1", type=messages.V1LayerParameter.CONVOLUTION)
    v1.blobs.add(data=[3, 4, 5], diff=[6, 7, 8], num=1, channels=1, height=1, width=3)
    v1.blobs.add(double_data=[0.1, 1e300, -2], shape=messages.BlobShape(dim=[3, 1]))
    v1.blobs.add(data=[9, 10])  # neither shape nor sizes
    net.layers.add(name="relu", type=messages.V1LayerParameter.RELU)
    return net


def small_model():
    net = messages.NetParameter(name="tiny")
    net.layer.add(name="data", type="Input", top=["data"])
    conv = net.layer.add(name="conv1", type="Convolution", bottom=["data"], top=["conv1"])
    conv.blobs.add(data=np.arange(54.0).tolist()).shape.dim.extend([2, 3, 3, 3])
    conv.blobs.add(data=[0.5, -0.5]).shape.dim.extend([2])
    net.layer.add(name="ip", type="InnerProduct").blobs.add(data=[1, 2, 3], num=1, channels=1, height=1, width=3)
    return net.SerializeToString()
