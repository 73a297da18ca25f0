"""Nets written in Python: NetSpec, L and P, as pycaffe has them.

    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 500, 500]))
    n.conv1 = L.Convolution(n.data, num_output=64, kernel_size=3, pad=100, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    net = Net(n.to_proto())

L.Type(*bottoms, **fields) gives the layer's top, or a tuple of `ntop` tops.  Fields are those of the type's own
message (num_output), of the layer (loss_weight), or whole messages (convolution_param=dict(...)); a dict is
a message, a list a repeated field.  What is not named gets a name: Convolution1, ...
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from demitasse.layers.layer import layer_class
from demitasse.netdef.fields import assign, home_of
from demitasse.proto import messages
from demitasse.proto.errors import SchemaFault, did_you_mean
from demitasse.proto.messages import LayerParameter, NetParameter


class Top:
    """One result of a layer, to be another's bottom; `fn` is the layer, `n` says which of its tops it is."""

    def __init__(self, fn: Function, n: int):
        self.fn, self.n = fn, n

    def to_proto(self) -> NetParameter:
        """The net of this top and all that it needs."""
        return to_proto(self)


class Function:
    """One layer: its type, the tops it reads, and its fields; `tops` are what it makes."""

    def __init__(self, type_name: str, inputs: tuple, params: dict):
        for index, value in enumerate(inputs):
            if not isinstance(value, Top):
                remedy = ": give its tops one by one, L.Eltwise(*tops)" if isinstance(value, list) else ""
                remedy = f": give the top itself, n.{value}, not its name" if isinstance(value, str) else remedy
                raise TypeError(f"{type_name} input {index} is not a Top (type is {type(value)}){remedy}")
        self.type_name, self.inputs, self.params = type_name, inputs, dict(params)
        self.in_place = self.params.pop("in_place", False)
        self.ntop = self.params.pop("ntop", len(inputs) if self.in_place else 1)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))
        self.message()  # a wrong field is found where it is written

    def message(self) -> LayerParameter:
        """The layer without its names."""
        layer = LayerParameter(type=self.type_name)
        for name, value in self.params.items():
            assign(home_of(layer, name), name, value)
        return layer

    def to_proto(self) -> NetParameter:
        """The net of this layer and all that it needs."""
        return to_proto(self)


class NetSpec:
    """A net under construction: each attribute or item that is set names a top (or a layer without tops)."""

    tops: dict[str, Top | Function]

    def __init__(self):
        super().__setattr__("tops", {})

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, (Top, Function)):
            raise NamingFault(_not_a_top(name, value))
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.tops:
            raise AttributeError(f"the net has no '{name}' yet{did_you_mean(name, self.tops)}")
        return self.tops[name]

    def __delattr__(self, name: str) -> None:
        del self.tops[name]

    __setitem__ = __setattr__
    __delitem__ = __delattr__

    def __getitem__(self, name: str) -> Any:
        return self.tops[name]

    def to_proto(self) -> NetParameter:
        """The layers in the order they were named, each after those it reads."""
        return _write(self.tops.values(), {value: name for name, value in self.tops.items()})


def to_proto(*wanted: Top | Function) -> NetParameter:
    """The net of all layers that these need, with names made up."""
    return _write(wanted, {})


def _write(wanted: Iterable[Top | Function], names: dict) -> NetParameter:
    names, counts = dict(names), Counter[str]()

    def name_of(thing: Top | Function) -> str:
        if thing not in names:
            kind = (thing.fn if isinstance(thing, Top) else thing).type_name
            counts[kind] += 1
            names[thing] = f"{kind}{counts[kind]}"
        return names[thing]

    net = NetParameter()
    blobs: dict[Top, str] = {}
    for fn in _in_order(top.fn if isinstance(top, Top) else top for top in wanted):
        layer = net.layer.add()
        layer.bottom.extend(blobs[top] for top in fn.inputs)
        layer.top.extend(layer.bottom if fn.in_place else [name_of(top) for top in fn.tops])
        blobs.update(zip(fn.tops, layer.top, strict=True))
        layer.name = name_of(fn.tops[0] if fn.tops else fn)
        layer.MergeFrom(fn.message())
    return net


def _in_order(wanted: Iterable[Function]) -> Iterator[Function]:
    """Each function once, after those whose tops it reads."""
    done: set[Function] = set()
    for root in wanted:
        stack = [root]
        while stack:
            fn = stack[-1]
            waiting = [top.fn for top in fn.inputs if top.fn not in done]
            stack.extend(reversed(waiting))
            if not waiting:
                stack.pop()
                if fn not in done:
                    done.add(fn)
                    yield fn


def _not_a_top(name: str, value) -> str:
    if not (isinstance(value, (tuple, list)) and value and all(isinstance(item, Top) for item in value)):
        return (
            f"n.{name} names a top, what L.Type(...) gives; it is given {reprlib.repr(value)} ({type(value).__name__})"
        )
    names = ", ".join([f"n.{name}", *(f"n.{name}{n}" for n in range(2, len(value) + 1))])
    return f"n.{name} is given {len(value)} tops: give each a name of its own, {names} = L.{value[0].fn.type_name}(...)"


class NamingFault(SchemaFault, TypeError):
    """A name of a NetSpec is given something other than one top."""


class TypeFault(SchemaFault, AttributeError):
    """There is no such layer type: hasattr(L, "Convoluton") is False."""


class _Layers:
    """L.Convolution(...) and so on for every layer type."""

    def __getattr__(self, type_name: str):
        if type_name.startswith("_"):
            raise AttributeError(type_name)
        try:
            layer_class(type_name)
        except SchemaFault as fault:
            raise TypeFault(fault.what) from None

        def make(*inputs: Top, **fields):
            fn = Function(type_name, inputs, fields)
            return fn.tops[0] if fn.ntop == 1 else fn.tops or fn

        return make


class _Enums:
    """A message type with its enum values as attributes; called, it makes a message."""

    def __init__(self, message):
        self._message = message

    def __getattr__(self, name: str):
        try:
            return getattr(self._message, name)
        except AttributeError:
            descriptor = self._message.DESCRIPTOR
            known = descriptor.enum_values_by_name
            there = f"; it has {', '.join(known)}" if known else ", nor any other enum value"
            raise AttributeError(f"{descriptor.name} has no '{name}'{did_you_mean(name, known)}{there}") from None

    def __call__(self, **fields):
        return self._message(**fields)

    def __dir__(self):
        return list(self._message.DESCRIPTOR.enum_values_by_name)


class _Parameters:
    """P.Pooling.MAX: the enum values of a type's message."""

    def __getattr__(self, name: str):
        message = getattr(messages, f"{name}Parameter", None)
        if message is None:
            known = [kind.removesuffix("Parameter") for kind in vars(messages) if kind.endswith("Parameter")]
            raise AttributeError(f"there is no {name}Parameter message{did_you_mean(name, known)}")
        return _Enums(message)


if TYPE_CHECKING:  # layer_calls.pyi spells out what the two find (netdef/spec_stub.py writes it)
    from demitasse.netdef.layer_calls import Layers, Params

    L: Layers
    P: Params
else:
    L, P = _Layers(), _Parameters()
