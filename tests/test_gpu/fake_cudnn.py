"""A stand-in for the cudnn module: builds and executes the graphs that cudnn_plans.py makes, on host memory.

It knows the calls that nvidia-cudnn-frontend 1.18 to 1.23 offers for them, refuses what cuDNN would refuse (an
output without sizes, a plan that was not built, operands of another type or layout) and counts heuristics.
"""

from __future__ import annotations

import ctypes
import functools
from types import SimpleNamespace

import numpy as np

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.geometry import ConvGeometry
from tests.test_gpu.device_array import Tape

data_type = SimpleNamespace(HALF=np.float16, FLOAT=np.float32)
heur_mode = SimpleNamespace(A="A", B="B", FALLBACK="FALLBACK")
numerical_note = SimpleNamespace(TENSOR_CORE=1, DOWN_CONVERT_INPUTS=2, NONDETERMINISTIC=3, FFT=4, WINOGRAD=5)
knob_type = SimpleNamespace(TILE_SIZE="tile", STAGES="stages")
refused_recipes: set = set()  # image shapes for which an engine says no, in one of the frontend's two ways
failing_recipes: set = set()  # in the other
hungry_recipes: set = set()  # for which it wants too much memory
without_cores: set = set()  # of answers with bias or ReLU, for which there is no engine for tensor cores
counts = SimpleNamespace(heuristics=0, recipes=0, handles=0)


class cudnnGraphNotSupportedError(Exception):  # noqa: N801, N818 (the name is the frontend's)
    pass


class Tensor:
    def __init__(self, dim, stride, dtype=None, make=None):
        self.dim, self.stride, self.dtype, self.make = dim, stride, dtype, make
        self.is_output = False

    def set_output(self, yes):
        self.is_output = yes
        return self

    def set_data_type(self, dtype):
        self.dtype = dtype
        return self

    def set_dim(self, dim):
        self.dim = dim
        return self

    def set_stride(self, stride):
        self.stride = stride
        return self

    def get_dim(self):
        return self.dim

    def get_uid(self):
        return id(self)

    def view(self, address):
        """The array (N, C, H, W) at an address, as its strides say."""
        count = int(np.prod(self.dim))
        buffer = (ctypes.c_char * (count * np.dtype(self.dtype).itemsize)).from_address(address)
        flat = np.frombuffer(buffer, self.dtype)
        steps = [s * flat.itemsize for s in self.stride]
        return np.lib.stride_tricks.as_strided(flat, self.dim, steps)


class pygraph:  # noqa: N801
    def __init__(self, io_data_type, intermediate_data_type, compute_data_type, handle=None):
        self.io, self.outputs, self.built, self.recipe, self.notes = io_data_type, [], False, None, []
        self.on_cores = False

    def tensor(self, dim, stride):
        return Tensor(dim, stride, self.io)

    def _node(self, make):
        self.outputs.append(Tensor(None, None, None, make))
        return self.outputs[-1]

    def conv_fprop(self, image, weight, padding, stride, dilation):
        geometry = _geometry(image.dim, weight.dim, padding, stride, dilation)
        return self._node(lambda get, out: GENERIC.conv_forward(get(image), get(weight), None, geometry))

    def conv_dgrad(self, loss, filter, padding, stride, dilation):
        def make(get, out):
            geometry = _geometry(out.dim, filter.dim, padding, stride, dilation)
            return GENERIC.conv_backward_data(get(loss), get(filter), geometry, out.dim[2:])

        return self._node(make)

    def conv_wgrad(self, image, loss, padding, stride, dilation):
        def make(get, out):
            geometry = _geometry(image.dim, out.dim, padding, stride, dilation)
            dw = np.zeros(out.dim, np.float32)
            GENERIC.conv_backward_weights(get(image), get(loss), geometry, dw)
            return dw

        return self._node(make)

    def bias(self, input, bias):
        return self._node(lambda get, out: input.make(get, out) + get(bias))

    def relu(self, input):
        return self._node(lambda get, out: np.maximum(input.make(get, out), 0))

    def validate(self):
        output = self.outputs[-1]
        assert output.is_output and output.dim and output.stride, "the output has no sizes"
        if output.dtype != self.io:  # as cuDNN 9.19: no engine adds up halves into floats
            raise cudnnGraphNotSupportedError("No valid engine configs")

    def build_operation_graph(self):
        pass

    def create_execution_plans(self, modes):
        counts.heuristics += 1

    def create_execution_plan(self, engine, knobs):
        assert knobs == {"tile": 3, "stages": 2}
        counts.recipes += 1
        self.recipe = engine

    def select_numeric_notes(self, notes):
        assert notes == [numerical_note.TENSOR_CORE]
        self.on_cores = True

    def deselect_numeric_notes(self, notes):
        self.notes = notes

    def deselect_engines(self, names):
        self.refused = names

    def deselect_workspace_greater_than(self, size):
        pass

    def check_support(self):
        if self.on_cores and len(self.outputs) > 1 and tuple(self.outputs[-1].dim) in without_cores:
            raise RuntimeError("No valid engine configs")
        if self.recipe and tuple(self.outputs[-1].dim) in refused_recipes:
            raise cudnnGraphNotSupportedError
        if self.recipe and tuple(self.outputs[-1].dim) in failing_recipes:
            raise RuntimeError("CUDNN_BACKEND_API_FAILED")

    def build_plans(self):
        self.built = True

    def get_workspace_size(self):
        return 1 << 40 if self.recipe and tuple(self.outputs[-1].dim) in hungry_recipes else 64

    def get_execution_plan_count(self):
        return 3

    def build_plan_at_index(self, index):
        self.get_workspace_size_plan_at_index(index)
        self.built = True

    def get_workspace_size_plan_at_index(self, index):
        """The heuristics know three engines; the first uses the tensor cores."""
        if index != (1 if set(self.notes) & {1, 2} else 0):
            raise RuntimeError(f"Plan index {index} did not build.")
        return 64

    def get_plan_name_at_index(self, index):
        return ("eng51_k2=3_k14=2", "eng7_k2=3_k14=2", "eng0")[index]

    def execute_plan_at_index(self, addresses, workspace, index, handle):
        assert 0 <= index < self.get_execution_plan_count()
        self.execute(addresses, workspace, handle)

    def execute(self, addresses, workspace, handle):
        assert self.built and workspace and not any(address % 16 for address in addresses.values())
        if Tape.running is not None:
            Tape.running.jobs.append(functools.partial(self._compute, addresses))
        self._compute(addresses)

    def _compute(self, addresses):
        output = self.outputs[-1]
        out = output.view(addresses[output.get_uid()])

        def get(tensor):
            return np.ascontiguousarray(tensor.view(addresses[tensor.get_uid()]), dtype=np.float32)

        out[...] = output.make(get, output)


GENERIC = make_backend("generic")


def _geometry(image, weights, padding, stride, dilation):
    group = image[1] // weights[1]
    return ConvGeometry(tuple(weights[2:]), tuple(stride), tuple(padding), tuple(dilation), group)


def create_handle():
    counts.handles += 1
    return "handle"


def set_stream(handle, stream):
    assert handle == "handle"
