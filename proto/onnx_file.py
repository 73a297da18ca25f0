"""ONNX files to plain records and back; the one home of the `onnx` package (extra `onnx`).

A file is written as opset 13, IR version 7: the first opset whose Softmax runs along any one axis and whose shape
operators take their axes as inputs, and by now the oldest that TensorRT 8, OpenCV 4.5, ONNX Runtime 1.7 and the
browser runtimes all read.  Weights of more than 2 GB lie beside the file (NAME.onnx.data).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from demitasse.proto.errors import SchemaFault, WeightsFault
from demitasse.proto.files import fault, map_file, replacing

OPSET, IR_VERSION = 13, 7
LARGEST = 2**31 - 2**20  # bytes in one protobuf message, with room for what is no weight
SMALL = 1024  # bytes: what is less stays in the file, beside its names
MISSING = "ONNX files need the package `onnx`: pip install demitasse[onnx]"


@dataclass
class Node:
    """One operator.  attrs: ints, floats, strings, lists of them, arrays, dtypes' names (`to`), Models (`body`)."""

    op: str
    inputs: list
    outputs: list
    attrs: dict = field(default_factory=dict)
    name: str = ""


@dataclass
class Model:
    """A graph: its nodes in the order of running, constant arrays, and inputs and outputs as {name: (dtype, sizes)},
    a size being an int, a symbol's name, or None where nothing is known."""

    nodes: list[Node]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, tuple] = field(default_factory=dict)
    outputs: dict[str, tuple] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    name: str = ""
    opset: int = OPSET
    producer: str = ""  # the program that wrote it

    @property
    def bodies(self) -> Iterator[Model]:
        """The graphs that nodes hold (Scan)."""
        for node in self.nodes:
            yield from (value for value in node.attrs.values() if isinstance(value, Model))


def _onnx():
    try:
        import onnx
    except ImportError:
        raise SchemaFault(MISSING) from None
    return onnx


# -- writing ---------------------------------------------------------------------------------------


def write(path: str | os.PathLike, model: Model) -> None:
    """Write a model; the file is replaced whole, once the checker with full shape inference has passed it.

    Raises WeightsFault where writing fails, SchemaFault where the package is missing.
    """
    onnx = _onnx()
    message = onnx.helper.make_model(
        _graph(onnx, replace(model, arrays={})),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="demitasse",
    )
    onnx.helper.set_model_props(message, model.metadata)
    tensors = {name: _tensor(onnx, message, name, array) for name, array in model.arrays.items()}
    if sum(array.nbytes for array in model.arrays.values()) < LARGEST:
        for name, tensor in tensors.items():
            tensor.raw_data = model.arrays[name].tobytes()
        onnx.checker.check_model(message, full_check=True)
        with replacing(path) as temporary:
            temporary.write_bytes(message.SerializeToString())
        return
    data = Path(os.path.realpath(path) + ".data")
    with replacing(path) as temporary:  # both are written before either takes its place
        with replacing(data) as beside, open(beside, "wb") as file:
            for name, tensor in tensors.items():
                _store(onnx, tensor, model.arrays[name], file, data.name)
            temporary.write_bytes(message.SerializeToString())
        onnx.checker.check_model(os.fspath(temporary), full_check=True)


def _tensor(onnx, message, name: str, array: np.ndarray):
    """A constant of the message, still without its numbers."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return message.graph.initializer.add(name=name, data_type=kind, dims=array.shape)


def _store(onnx, tensor, array: np.ndarray, file, location: str) -> None:
    """The numbers of a constant, in the file of large ones where they are many."""
    if array.nbytes < SMALL:
        tensor.raw_data = array.tobytes()
        return
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", file.tell()), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    np.ascontiguousarray(array).tofile(file)


def _graph(onnx, model: Model):
    helper = onnx.helper
    return helper.make_graph(
        [_node(onnx, node) for node in model.nodes],
        model.name or "net",
        [_value(onnx, name, *about) for name, about in model.inputs.items()],
        [_value(onnx, name, *about) for name, about in model.outputs.items()],
        [onnx.numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in model.arrays.items()],
    )


def _value(onnx, name, dtype, sizes):
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), sizes)


def _node(onnx, node: Node):
    attrs = {key: _attribute(onnx, key, value) for key, value in node.attrs.items()}
    return onnx.helper.make_node(node.op, node.inputs, node.outputs, node.name, **attrs)


def _attribute(onnx, key, value):
    if isinstance(value, Model):
        return _graph(onnx, value)
    if isinstance(value, np.ndarray):
        return onnx.numpy_helper.from_array(value)
    return onnx.helper.np_dtype_to_tensor_dtype(np.dtype(value)) if key == "to" else value


# -- running ---------------------------------------------------------------------------------------


def evaluate(node: Node, inputs: Sequence[np.ndarray | None], opset: int) -> list[np.ndarray]:
    """What an operator makes of arrays (None: left out), each of the shape that ONNX says, by the package's reference.
    ValueError where it cannot."""
    onnx = _onnx()
    from onnx.reference import ReferenceEvaluator

    names = {name: array for name, array in zip(node.inputs, inputs, strict=True) if array is not None}
    about = [_value(onnx, name, array.dtype, array.shape) for name, array in names.items()]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.outputs]
    graph = onnx.helper.make_graph([_node(onnx, node)], "one", about, outputs)
    try:
        return list(ReferenceEvaluator(graph, opsets={"": opset}).run(None, names))
    except Exception as error:  # of whatever kind: a file may say anything
        raise ValueError(f"it cannot be computed: {error}") from None


# -- reading ---------------------------------------------------------------------------------------


def read(path: str | os.PathLike) -> Model:
    """The graph of a file, its constants as arrays.

    External data are read from the file's own folder only, and no more than is there.  Raises WeightsFault.
    """
    onnx = _onnx()
    data = map_file(path)
    try:
        message = onnx.ModelProto.FromString(bytes(data))
    except Exception as error:  # protobuf's DecodeError, whose class depends on its implementation
        raise fault(path, "not an ONNX file, or not all of one", error) from None
    if not message.HasField("graph") or not message.opset_import:
        raise fault(path, "not an ONNX file: it has no graph or names no version of the operators (opset_import)")
    try:
        return _read_model(onnx, path, message)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise fault(path, "a damaged ONNX file", error) from None


def _read_model(onnx, path, message) -> Model:
    foreign = [opset.domain for opset in message.opset_import if opset.domain not in ("", "ai.onnx")]
    used = {node.domain for node in message.graph.node} - {"", "ai.onnx"}
    if used & set(foreign):
        raise fault(path, f"operators of other domains than ONNX's own: {', '.join(sorted(used))}")
    model = _read_graph(onnx, path, message.graph)
    own = (opset.version for opset in message.opset_import if opset.domain in ("", "ai.onnx"))
    model.opset, model.producer = max(own, default=OPSET), str(message.producer_name)
    model.metadata = {str(entry.key): str(entry.value) for entry in message.metadata_props}
    return model


def _read_graph(onnx, path, graph) -> Model:
    names = [name for node in graph.node for name in (node.op_type, *node.input, *node.output)]
    names += [each.name for node in graph.node for each in node.attribute]
    names += [each.name for group in (graph.initializer, graph.input, graph.output) for each in group]
    if not all(isinstance(name, str) for name in [graph.name, *names]):  # what is no UTF-8 comes as bytes
        raise ValueError("a name is no text")
    if not all(node.output for node in graph.node):
        raise ValueError("an operator has no output")
    arrays = {tensor.name: _array(onnx, path, tensor) for tensor in graph.initializer}
    nodes = [
        Node(
            node.op_type,
            list(node.input),
            list(node.output),
            {attr.name: _read_attribute(onnx, path, attr) for attr in node.attribute},
            node.name,
        )
        for node in graph.node
    ]
    inputs = {value.name: _read_value(onnx, value) for value in graph.input if value.name not in arrays}
    outputs = {value.name: _read_value(onnx, value) for value in graph.output}
    return Model(nodes, arrays, inputs, outputs, {}, graph.name)


def _read_value(onnx, value) -> tuple:
    tensor = value.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim]
    return str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else "float32", sizes


def _read_attribute(onnx, path, attr):
    kinds = onnx.AttributeProto
    if attr.type == kinds.TENSOR:
        return _array(onnx, path, attr.t)
    if attr.type == kinds.GRAPH:
        return _read_graph(onnx, path, attr.g)
    value = onnx.helper.get_attribute_value(attr)
    if attr.name == "to":
        return str(onnx.helper.tensor_dtype_to_np_dtype(value))
    if isinstance(value, list):
        return [_text(each) for each in value]
    return _text(value)


def _text(value):
    """Bytes as text; all else as it is."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _array(onnx, path, tensor) -> np.ndarray:
    """A tensor's numbers; its sizes are held against the bytes that are there before memory is taken."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _external(onnx, path, tensor)
    count = int(np.prod([int(size) for size in tensor.dims], dtype=object))
    present = max(
        len(tensor.raw_data) if tensor.HasField("raw_data") else 0,
        *(len(getattr(tensor, name)) * 8 for name in ("float_data", "int32_data", "int64_data", "double_data")),
        len(tensor.uint64_data) * 8,
    )
    if min(tensor.dims, default=0) < 0 or count > present:
        raise fault(path, f"the array '{tensor.name}' claims {count:,} numbers, and there are {present:,} bytes")
    try:
        return onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # whatever the package finds wrong with what a file says
        raise fault(path, f"the array '{tensor.name}' cannot be read", error) from None


def _external(onnx, path, tensor) -> np.ndarray:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    location = entries.get("location", "")
    place = os.path.realpath(os.path.join(folder, location))
    if not location or os.path.commonpath([folder, place]) != folder or place == folder:
        raise fault(path, f"the array '{tensor.name}' lies outside the file's folder, in {location!r}: it is not read")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = int(np.prod([int(size) for size in tensor.dims], dtype=object))
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", count * dtype.itemsize))
    except ValueError:
        raise fault(path, f"the array '{tensor.name}' has no offset and length in {location!r}") from None
    if not os.path.exists(place):
        raise fault(path, f"the array '{tensor.name}' lies in {location!r}, which is not beside the file: copy it too")
    data = map_file(place)
    if min(tensor.dims, default=0) < 0 or offset < 0 or count * dtype.itemsize != length or offset + length > len(data):
        raise fault(
            path,
            f"the array '{tensor.name}' claims {count:,} numbers at byte {offset:,} of {location!r}, "
            f"which has {len(data):,} bytes",
        )
    return np.frombuffer(data[offset : offset + length], dtype).reshape(tuple(tensor.dims))


__all__ = ["Model", "Node", "WeightsFault", "read", "write"]
