"""Every specimen of the layers' contract, exported in its TEST phase and run in ONNX Runtime as the engine runs it."""

import numpy as np
import pytest

from demitasse.layers.layer import Layer, layer_class
from demitasse.netdef.net import Net
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import NetParameter
from tests.test_layers.harness import is_random, specimens
from tests.test_onnx.peers import differences, made_up, run


def translated(specimen):
    return specimen.spec.top and layer_class(specimen.spec.type).to_onnx is not Layer.to_onnx


def net_of(specimen):
    """(the specimen as a net, values for its inputs)"""
    message, random, inputs = NetParameter(name="specimen"), np.random.default_rng(3), {}
    for name, given in dict(zip(specimen.spec.bottom, specimen.inputs, strict=True)).items():
        layer = message.layer.add(name=name, type="Input", top=[name])
        layer.input_param.shape.add(dim=given.shape)
        inputs[name] = given.values(random).astype(np.float32)
    message.layer.add().CopyFrom(specimen.spec)
    message.layer[-1].ClearField("phase")
    message.layer[-1].ClearField("include")
    net = Net(message, "TEST", seed=2)
    made_up(net)
    return net, inputs


# What of a translated type has no translation, and the words that say so.
UNTRANSLATED = {
    "contrastive_loss.prototxt: matches": "which pairs match",
    "detection_output.prototxt: polygons": "use_polygon",
    "l1_loss.prototxt: lengths": "l1_loss_param",
    "l1_loss.prototxt: plateau": "l1_loss_param",
}


@pytest.mark.filterwarnings("ignore:.*coeff is ignored", "ignore:.*without effect")
@pytest.mark.parametrize("specimen", list(filter(translated, specimens())), ids=lambda specimen: specimen.name)
def test_runs_as_the_engine_does(specimen, tmp_path):
    net, inputs = net_of(specimen)
    expected = {blob: np.array(array) for blob, array in net.forward(inputs).items()}
    for fixed in (False, True):
        try:
            net.to_onnx(tmp_path / "net.onnx", fixed=fixed)
        except SchemaFault as fault:
            assert ("random" if is_random(specimen) else UNTRANSLATED.get(specimen.name, "eta")) in str(fault)
            continue
        assert differences(run(tmp_path / "net.onnx", inputs), expected) == []
