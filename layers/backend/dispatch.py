"""Where a backend's primitives come from: the one rule by which a device falls back to the reference.

A primitive is a public function of one of the FAMILIES, modules of the same names in reference/ and in the device's
package.  Its first argument is the backend (`be`), so that it becomes a method of the backend's class:

    @provides("demitasse.layers.backend.cpu")
    class CpuBackend: ...                        # its state; every primitive is put in by the decorator

The rule: a primitive of the device's own runs where it takes the arguments, the reference's of the same name
everywhere else.  What it takes is declared at its head, and nowhere else:

    @takes(lambda x, slope: floats(x))
    def relu_forward(be, x, slope): ...

Without `takes` it takes everything.  What a device has no function for is the reference's.  The docstrings of all are
the contract's.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from types import ModuleType

from demitasse.layers.backend import contract

REFERENCE = "demitasse.layers.backend.reference"
FAMILIES = (
    "arrays",
    "random",
    "matmul",
    "convolution",
    "pooling",
    "regions",
    "suppression",
    "elementwise",
    "norm",
    "loss",
    "update",
    "recording",
)


def takes(accepts: Callable[..., bool]):
    """Declare what arguments an accelerated primitive takes: accepts(*all but the backend) says whether it does."""

    def declare(function):
        function.accepts = accepts
        return function

    return declare


def primitives(module: ModuleType) -> dict[str, Callable]:
    """{name: function} of the public functions that a module defines itself."""
    return {
        name: function
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
    }


def family(package: str, name: str) -> ModuleType | None:
    """A package's module of that family; None where it has none."""
    try:
        return importlib.import_module(f"{package}.{name}")
    except ModuleNotFoundError as fault:
        if fault.name != f"{package}.{name}":
            raise
        return None


def provides(package: str = REFERENCE):
    """A decorator of a backend's class: its primitives are those of `package`, by the rule above.

    TypeError where a module of the package has a public function that is no primitive of its family.
    """

    def install(cls):
        for name in FAMILIES:
            protocol = getattr(contract, name.capitalize())
            meaning, device = primitives(family(REFERENCE, name)), family(package, name)
            own = primitives(device) if device else {}
            if own.keys() - meaning.keys():
                raise TypeError(f"{package}.{name} has functions that are no primitives: {own.keys() - meaning.keys()}")
            for primitive, reference in meaning.items():
                function = _dispatched(own.get(primitive, reference), reference)
                function.__doc__ = function.__doc__ or getattr(protocol, primitive).__doc__
                setattr(cls, primitive, function)
        return cls

    return install


def _dispatched(own: Callable, reference: Callable) -> Callable:
    accepts = getattr(own, "accepts", None)
    if accepts is None:
        return own

    @functools.wraps(own)
    def primitive(be, *args, **named):
        return (own if accepts(*args, **named) else reference)(be, *args, **named)

    return primitive
