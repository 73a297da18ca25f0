"""NetSpec, L and P."""

import numpy as np
import pytest

from demitasse.netdef import spec_stub
from demitasse.netdef.net import Net
from demitasse.netdef.spec import L, NetSpec, P, to_proto
from demitasse.proto import text
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import NetParameter
from tests.test_netdef.texts import build


def lenet():
    n = NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[2, 1, 28, 28]), dict(dim=[2, 1, 1, 1])], ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=500, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n


def test_a_net_written_in_python_is_a_net():
    message = lenet().to_proto()
    assert [(layer.name, list(layer.bottom), list(layer.top)) for layer in message.layer] == [
        ("data", [], ["data", "label"]),
        ("conv1", ["data"], ["conv1"]),
        ("pool1", ["conv1"], ["pool1"]),
        ("ip1", ["pool1"], ["ip1"]),
        ("relu1", ["ip1"], ["ip1"]),
        ("ip2", ["ip1"], ["ip2"]),
        ("loss", ["ip2", "label"], ["loss"]),
    ]
    assert message.layer[1].convolution_param.weight_filler.type == "xavier"
    assert list(message.layer[1].convolution_param.kernel_size) == [5]
    net = build(message)
    assert net.shapes["ip1"] == (2, 500)
    net.forward()


def test_the_text_of_a_spec_reads_back():
    message = lenet().to_proto()
    again, _ = text.parse(text.format(message), NetParameter)
    assert again == message


def test_layers_without_names_are_numbered_by_type():
    data = L.DummyData(shape=dict(dim=[1, 1, 8, 8]))
    message = to_proto(L.ReLU(L.Pooling(L.Pooling(data, kernel_size=2), kernel_size=2), in_place=True))
    assert [layer.name for layer in message.layer] == ["DummyData1", "Pooling1", "Pooling2", "ReLU1"]
    assert list(message.layer[3].bottom) == list(message.layer[3].top) == ["Pooling2"]


def test_tops_of_one_layer_are_numbered_too():
    first, second = L.Split(L.DummyData(shape=dict(dim=[1])), ntop=2)
    message = first.to_proto()
    assert list(message.layer[1].top) == ["Split1", "Split2"] and message.layer[1].name == "Split1"
    assert second.fn.to_proto() == message


def test_layers_without_tops():
    n = NetSpec()
    n.data = L.DummyData(shape=dict(dim=[1]))
    n.quiet = L.Silence(n.data, ntop=0)
    message = n.to_proto()
    assert message.layer[1].name == "quiet" and not message.layer[1].top


def test_items_are_names_too():
    n = NetSpec()
    n["data"] = L.DummyData(shape=dict(dim=[1]))
    n["res2a/relu"] = L.ReLU(n["data"])
    del n["data"]
    assert [layer.name for layer in n.to_proto().layer] == ["DummyData1", "res2a/relu"]
    with pytest.raises(AttributeError, match="no 'dta' yet"):
        _ = n.dta


def test_fields_go_where_they_belong():
    layer = L.Deconvolution(
        L.Input(),
        num_output=3,
        kernel_size=4,
        stride=2,
        name="up",
        loss_weight=0.5,
        param=[dict(lr_mult=0), dict(lr_mult=2, decay_mult=0)],
        include=dict(phase=1),
    ).fn.message()
    assert layer.convolution_param.num_output == 3 and list(layer.convolution_param.stride) == [2]
    assert layer.name == "up" and list(layer.loss_weight) == [0.5]
    assert [spec.lr_mult for spec in layer.param] == [0, 2] and layer.include[0].phase == 1
    loss = L.SoftmaxWithLoss(L.Input(), L.Input(), ignore_label=255, normalize=False, axis=2).fn.message()
    assert (loss.loss_param.ignore_label, loss.loss_param.normalize, loss.softmax_param.axis) == (255, False, 2)
    same = L.SoftmaxWithLoss(L.Input(), L.Input(), loss_param=dict(ignore_label=255)).fn.message()
    assert same.loss_param.ignore_label == 255


def test_values_of_many_kinds():
    layer = (
        L.Convolution(
            L.Input(), num_output=np.int64(3), kernel_size=(3, np.int32(5)), pad=np.array([1, 2]), engine="CUDNN"
        )
        .fn.message()
        .convolution_param
    )
    assert (layer.num_output, list(layer.kernel_size), list(layer.pad)) == (3, [3, 5], [1, 2])
    assert layer.engine == P.Convolution.CUDNN
    filler = P.Filler(type="bilinear")
    layer = L.Convolution(L.Input(), weight_filler=filler).fn.message()
    assert layer.convolution_param.weight_filler.type == "bilinear"


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: L.Convolution(L.Input(), num_outputs=3),
            r"Convolution has no field 'num_outputs' \(did you mean 'num_output'\?\)",
        ),
        (lambda: L.Convolution(L.Input(), inplace=True), "did you mean 'in_place'"),
        (lambda: L.Convolution(L.Input(), convolution_parm=dict()), "did you mean 'convolution_param'"),
        (lambda: L.Convolution(L.Input(), weight_filler=dict(kind="x")), "FillerParameter has no field 'kind'"),
        (
            lambda: L.Convolution(L.Input(), weight_filler="xavier"),
            r"weight_filler is a message: give a dict, such as dict\(type=...\), not 'xavier'",
        ),
        (lambda: L.Convolution(L.Input(), num_output="two"), "num_output of ConvolutionParameter cannot be 'two'"),
        (lambda: L.Convolution(L.Input(), num_output="3"), "cannot be '3': write num_output=3$"),
        (lambda: L.Convolution(L.Input(), num_output=3.0), "cannot be 3.0: write num_output=3$"),
        (lambda: L.Convolution(L.Input(), num_output=None), "cannot be None: leave it out$"),
        (lambda: L.Convolution(L.Input(), num_output=1 << 40), "cannot be 1099511627776$"),
        (lambda: L.Convolution(L.Input(), bias_term="no"), "cannot be 'no': write bias_term=False$"),
        (lambda: L.SoftmaxWithLoss(L.Input(), loss_weight="0.5"), "write loss_weight=0.5$"),
        (lambda: L.Convolution(L.Input(), num_output=[1, 2]), "num_output of .* takes one value, not a list"),
        (lambda: L.Pooling(L.Input(), pool="MAXX"), r"pool is one of MAX, AVE, STOCHASTIC, not 'MAXX' .*'MAX'\?\)"),
        (lambda: L.Convolutoin(L.Input()), "unknown layer type 'Convolutoin' .did you mean 'Convolution'"),
    ],
)
def test_mistakes_are_found_where_they_are_written(make, message):
    with pytest.raises(SchemaFault, match=message):
        make()


def test_bottoms_must_be_tops():
    with pytest.raises(TypeError, match=r"Convolution input 0 is not a Top \(type is <class 'str'>\)"):
        L.Convolution("data", num_output=1)


def test_a_long_chain_needs_no_deep_stack():
    top = L.Input(shape=dict(dim=[1, 1]))
    for _ in range(3000):
        top = L.Power(top)
    assert len(to_proto(top).layer) == 3001


def test_a_spec_runs_from_start_to_end():
    n = NetSpec()
    n.x = L.Input(shape=dict(dim=[1, 2]))
    n.y = L.Power(n.x, scale=3, shift=1)
    y = Net(n.to_proto()).forward({"x": [[1, 2]]})["y"]
    np.testing.assert_array_equal(y, [[4, 7]])


def test_fields_of_types_that_borrow_their_message():
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 4, 8, 8]))
    n.depthwise = L.DepthwiseConvolution(n.data, num_output=4, kernel_size=3)
    n.up = L.Deconvolution(n.depthwise, num_output=2, kernel_size=4, stride=2)
    assert [layer.convolution_param.num_output for layer in n.to_proto().layer] == [0, 4, 2]


def test_a_type_that_there_is_not_is_an_attribute_that_there_is_not():
    assert hasattr(L, "Convolution") and not hasattr(L, "Convoluton")
    with pytest.raises(SchemaFault, match="unknown layer type 'Convoluton'.*did you mean 'Convolution'"):
        L.Convoluton()


def test_what_editors_complete_is_what_there_is():
    written = spec_stub.STUB.read_text(encoding="utf-8")
    assert written == spec_stub.stub(), "out of date: run python -m demitasse.netdef.spec_stub"
