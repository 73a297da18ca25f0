"""The contract of backends: what it declares, the reference means and devices accelerate has the same names and
parameters; and the rule by which a device falls back to the reference."""

import inspect
import sys
import types

import numpy as np
import pytest

from demitasse.layers.backend import contract, dispatch
from demitasse.layers.backend.dispatch import FAMILIES, REFERENCE, family, primitives, provides, takes
from demitasse.layers.backend.reference import ReferenceBackend, elementwise

PACKAGES = ["demitasse.layers.backend.cpu", "demitasse.layers.backend.gpu"]


def parameters(function):
    """[(name, default)] without the backend."""
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()][1:]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_reference_is_what_the_contract_declares(name):
    declared = primitives_of_protocol(getattr(contract, name.capitalize()))
    meaning = primitives(family(REFERENCE, name))
    assert {n: parameters(f) for n, f in declared.items()} == {n: parameters(f) for n, f in meaning.items()}


def primitives_of_protocol(protocol):
    return {name: f for name, f in vars(protocol).items() if inspect.isfunction(f) and not name.startswith("_")}


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_device_has_the_reference_s_parameters(package, name):
    module = family(package, name)
    meaning = primitives(family(REFERENCE, name))
    for primitive, own in primitives(module).items() if module else ():
        assert parameters(own) == parameters(meaning[primitive]), primitive


@pytest.fixture
def package(monkeypatch):
    """A device that accelerates the ReLU of float32 alone."""
    package = types.ModuleType("a_device")
    package.__path__ = []
    module = types.ModuleType("a_device.elementwise")

    @takes(lambda x, slope: x.dtype == np.float32)
    def relu_forward(be, x, slope):
        return "accelerated"

    relu_forward.__module__ = module.__name__
    module.relu_forward = relu_forward
    monkeypatch.setitem(sys.modules, "a_device", package)
    monkeypatch.setitem(sys.modules, "a_device.elementwise", module)
    monkeypatch.setattr(dispatch, "family", lambda package, name: sys.modules.get(f"{package}.{name}"))
    return module


def test_what_a_device_does_not_take_goes_to_the_reference(package):
    @provides("a_device")
    class Device:
        xp = np

    x = np.array([-1.0, 2.0])
    assert Device().relu_forward(np.float32(x), 0.0) == "accelerated"
    assert Device().relu_forward(np.float32(x), slope=0.0) == "accelerated"
    np.testing.assert_array_equal(Device().relu_forward(x, 0.5), [-0.5, 2])
    assert Device.relu_backward is elementwise.relu_backward is ReferenceBackend.relu_backward


def test_a_function_that_is_no_primitive_is_refused(package):
    def relu_foreward(be, x, slope): ...

    relu_foreward.__module__ = package.__name__
    package.relu_foreward = relu_foreward
    with pytest.raises(TypeError, match=r"a_device.elementwise has functions that are no primitives: .*relu_foreward"):
        provides("a_device")(type("Device", (), {}))
