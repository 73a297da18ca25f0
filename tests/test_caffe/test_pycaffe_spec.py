"""NetSpec, layers, params and coordinate maps under pycaffe's names; what its own tests ask of them."""

import numpy as np
import pytest

import caffe
from caffe import layers as L
from caffe import params as P
from caffe.coord_map import (
    AxisMismatchException,
    UndefinedMapException,
    compose,
    coord_map,
    coord_map_from_to,
    crop,
    inverse,
)
from caffe.proto import caffe_pb2


def coord_net(kernel=3, stride=1, pad=0, offset_net=True):
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[2, 1, 100, 100]))
    n.aux = L.Input(shape=dict(dim=[2, 1, 20, 20]))
    n.conv = L.Convolution(n.data, num_output=10, kernel_size=kernel, stride=stride, pad=pad)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=2, stride=2, pad=0)
    n.relu = L.ReLU(n.pool, in_place=True)
    n.deconv = L.Deconvolution(n.relu, num_output=10, kernel_size=4, stride=4, pad=0)
    n.crop = L.Crop(n.deconv, n.data, crop_param=dict(axis=2, offset=5))
    return n


def test_net_spec_writes_a_net_that_runs(tmp_path):
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[4, 1, 8, 8]), dict(dim=[4])],
        data_filler=[dict(type="gaussian"), dict(type="constant")],
        ntop=2,
    )
    n.ip = L.InnerProduct(
        n.data, num_output=3, weight_filler=dict(type="xavier"), param=[dict(lr_mult=1), dict(lr_mult=2)]
    )
    n.relu = L.ReLU(n.ip, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.relu, n.label)
    n.quiet = L.Silence(n.data, ntop=0)
    message = n.to_proto()
    assert isinstance(message, caffe_pb2.NetParameter)
    assert [layer.name for layer in message.layer] == ["data", "ip", "relu", "loss", "quiet"]
    assert list(message.layer[2].top) == ["ip"] and message.layer[1].param[1].lr_mult == 2
    (tmp_path / "net.prototxt").write_text(str(message))
    assert caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN).forward().keys() == {"loss"}
    assert len(caffe.to_proto(n.loss).layer) == 4
    with pytest.raises(TypeError, match="is not a Top"):
        L.Convolution("data")


def test_a_shape_net():
    n = caffe.NetSpec()
    n.data = L.Input(input_param=dict(shape=dict(dim=[1, 2, 3, 4])))
    n["odd name"] = L.Power(n["data"], power=2)
    assert [layer.name for layer in n.to_proto().layer] == ["data", "odd name"]
    message = caffe_pb2.LayerParameter()
    caffe.net_spec.assign_proto(message, "convolution_param", dict(num_output=3, kernel_size=[1, 2]))
    assert list(message.convolution_param.kernel_size) == [1, 2]


@pytest.mark.parametrize("kernel, stride, pad, scale, shift", [(3, 1, 1, 1, 0), (3, 2, 0, 0.5, -0.5), (5, 1, 0, 1, -2)])
def test_maps_of_convolutions(kernel, stride, pad, scale, shift):
    axis, a, b = coord_map(coord_net(kernel, stride, pad).conv.fn)
    assert (axis, a, b) == (1, scale, shift)


def test_maps_through_a_net():
    n = coord_net(kernel=3, stride=2, pad=1)
    assert coord_map_from_to(n.deconv, n.data) == (1, 1, -0.5)  # conv 2, pool 2, deconv 4
    assert coord_map_from_to(n.relu, n.data)[1] == 4
    assert coord_map_from_to(n.crop, n.deconv) == (1, 1, 5)


def test_crop_and_crop_of_a_crop():
    n = coord_net(kernel=5, stride=2, pad=0)
    offset = coord_map_from_to(n.deconv, n.data)[2]
    n.deconv2 = L.Deconvolution(n.relu, num_output=10, kernel_size=8, stride=4, pad=0)
    once = crop(n.deconv2, n.deconv)
    layer = caffe.to_proto(once).layer[-1]
    assert layer.type == "Crop" and layer.crop_param.axis == 2 and list(layer.crop_param.offset) == [2]
    assert coord_map_from_to(once, n.data)[2] == offset
    assert list(caffe.to_proto(crop(n.conv, n.conv)).layer[-1].crop_param.offset) == [0]


def test_what_cannot_be_cropped():
    n = coord_net()
    with pytest.raises(AssertionError, match="scale mismatch on crop"):
        crop(n.pool, n.data)
    with pytest.raises(AssertionError, match="negative offset"):
        crop(L.Convolution(n.data, num_output=1, kernel_size=3), n.data)
    with pytest.raises(AssertionError, match="not a whole number"):
        crop(n.data, L.Convolution(n.data, num_output=1, kernel_size=2))
    with pytest.raises(RuntimeError, match="no common ancestor"):
        crop(n.data, n.aux)


def test_layers_without_a_map_and_axes_that_differ():
    n = coord_net()
    with pytest.raises(UndefinedMapException, match="Concat"):
        coord_map(L.Concat(n.data, n.aux).fn)
    with pytest.raises(UndefinedMapException, match="Slice"):
        coord_map(L.Slice(n.data, ntop=2)[0].fn)
    assert coord_map_from_to(L.Concat(n.conv, n.conv), n.conv)[1:] == (1, 0)  # a Crop finds its way through them
    with pytest.raises(AxisMismatchException):
        compose((1, 1, 0), (2, 1, 0))


def test_compose_and_inverse():
    assert compose((1, 2, 3), (None, 4, 5)) == (1, 8, 13)
    assert inverse((1, 4, 2)) == (1, 0.25, -0.5)
    np.testing.assert_array_equal(inverse((1, np.array([2.0, 4.0]), np.array([1.0, 2.0])))[1], [0.5, 0.25])


def test_rectangular_kernels():
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 50, 50]))
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=[3, 5], stride=[1, 1], pad=[1, 0])
    axis, a, b = coord_map(n.conv.fn)
    assert axis == 1 and a.tolist() == [1, 1]
    np.testing.assert_array_equal(b, [0, -2])


def test_layer_types_and_messages():
    types = caffe.layer_type_list()
    assert {"Data", "Convolution", "SoftmaxWithLoss", "Python", "Crop"} <= set(types) and types == sorted(types)
    assert caffe_pb2.TRAIN == caffe.TRAIN == 0 and caffe_pb2.Phase.Value("TEST") == caffe.TEST == 1
    assert P.Pooling.AVE == caffe_pb2.PoolingParameter.AVE
    assert caffe_pb2.LayerParameter().phase == 0 and caffe_pb2.DESCRIPTOR.package == "caffe"


def test_one_kernel_size_goes_for_three_axes():
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 2, 40, 40, 40]))
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=[3, 3, 3], pad=[0, 1, 2])
    n.pool = L.Pooling(n.conv, kernel_size=2, stride=2)
    n.deconv = L.Deconvolution(n.pool, num_output=1, kernel_size=4, stride=2)
    axis, a, b = coord_map_from_to(n.deconv, n.data)
    assert axis == 1 and a.tolist() == [1, 1, 1] and b.tolist() == [0, -1, -2]
    assert list(crop(n.deconv, n.deconv).fn.message().crop_param.offset) == [0]
    axis, a, b = coord_map_from_to(n.pool, n.conv)
    assert (a == 2).all() and (b == 0.5).all() and len(a) == len(b) == 1  # arrays, as scripts know them
