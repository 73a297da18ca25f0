"""How the machine code of a kernel is made: Numba types and lowers its functions, LLVM optimises them as a whole.

Numba on its own would optimise and assemble each function by itself, then again within each of its callers, and make
wrappers for callers in Python.  Here functions stay as Numba has lowered them until they are linked into their kernel.
"""

from __future__ import annotations

import contextlib
import functools
import types as python

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.np.arrayobj import populate_array

from demitasse.layers.backend.cpu.code_cache import target_machine
from demitasse.layers.backend.cpu.jit import Function, Intrinsic, PackedKind, formats_of

# Without NRT there are no references to count, in every view of an array, and none that could be kept for good.
OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "_nrt": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
INTEGERS = {int: types.int64, np.int64: types.int64, bool: types.boolean}
NUMBERS = INTEGERS | {float: types.float64, np.float32: types.float32}
I32, I64 = ir.IntType(32), ir.IntType(64)
# Where the fields of NumPy's PyArrayObject are, in words after the head that all Python objects have.
HEAD, DATA, SHAPE, FLAGS, CONTIGUOUS = object.__basicsize__ // 8, 0, 2, 6, 1


class _Piece(JITCodeLibrary):
    """A function on its way into a kernel: neither optimised nor assembled."""

    def add_llvm_module(self, ll_module):
        self._final_module.link_in(ll_module)

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name):
        return 0


class _Whole(_Piece):
    """A kernel with all that it calls."""

    def keep(self, entry: str) -> None:
        """Nobody calls anything but the entry.  Others have names in which Numba counts, which then would not be the
        same in every process."""
        module = self._final_module
        inner = [each for each in module.functions if not each.is_declaration and each.name != entry]
        for i, each in enumerate([*inner, *module.global_variables]):
            if not each.is_declaration:
                each.linkage, each.name = "internal", f"_{i}"

    def object_code(self, entry: str) -> bytes:
        self._ensure_finalized()
        self.keep(entry)
        machine, options = target_machine(), llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = True
        passes = llvm.create_pass_builder(machine, options)
        passes.getModulePassManager().run(self._final_module, passes)
        return machine.emit_object(self._final_module)


@contextlib.contextmanager
def _pieces(context):
    """Have Numba make pieces.  With its lock held: other threads' functions are as ever."""
    codegen = context.codegen()
    codegen._library_class = _Piece
    context.get_executable = lambda *_: [].append  # a built-in of its own by which Numba tells functions apart
    try:
        yield codegen
    finally:
        del codegen._library_class, context.get_executable


def object_code(kernel: Function, kinds: tuple, name: str) -> bytes:
    """The machine code of a kernel for those kinds of arguments, as the function `name` of an object file.

    It takes the address of the packed arguments, and returns 1 + the number of an array that is not contiguous, or 0.
    """
    with global_compiler_lock, _pieces(cpu_target.target_context) as codegen:
        argtypes = tuple(_type(kind) for kind in kinds)
        dispatcher = _for_numba(kernel)
        dispatcher.compile(argtypes)
        compiled = dispatcher.overloads[argtypes]
        whole = _Whole(codegen, name)
        module = whole.create_ir_module(name)
        _write_entry(module, name, compiled, kinds, argtypes)
        whole.add_ir_module(module)
        whole.add_linking_library(compiled.library)
        return whole.object_code(name)


@functools.cache
def _for_numba(thing):
    """The dispatcher of a Function, with what it calls; the Intrinsic as Numba's own."""
    if isinstance(thing, Intrinsic):
        return numba.extending.intrinsic(thing.py_func)
    function = thing.py_func
    known = {
        name: _for_numba(value) if isinstance(value, (Function, Intrinsic)) else value
        for name, value in function.__globals__.items()
        if name in function.__code__.co_names or name == "__name__"
    }
    copy = python.FunctionType(function.__code__, known, function.__name__, function.__defaults__)
    return numba.njit(**OPTIONS, **thing.options)(copy)


def _type(kind):
    """Numba's type of an argument."""
    if isinstance(kind, type):
        return NUMBERS[kind]
    if isinstance(kind, PackedKind):
        return _type(kind.kind)
    cls, *items = kind
    if isinstance(cls, str):
        return types.Array(numba.from_dtype(np.dtype(cls)), *items, "C")
    return types.BaseTuple.from_types([_type(item) for item in items], None if cls is tuple else cls)


def _write_entry(module, name, compiled, kinds, argtypes):
    """The function that unpacks the arguments and calls the kernel."""
    context, descriptor = cpu_target.target_context, compiled.fndesc
    entry = ir.Function(module, ir.FunctionType(I32, [I64.as_pointer()]), name)
    builder = ir.IRBuilder(entry.append_basic_block())
    unpacker, words, args = _Unpacker(context, builder), entry.args[0], []
    for i, kind in enumerate(kinds):
        args.append(unpacker.value(kind, argtypes[i], words, i))
        words = unpacker.at(words, len(formats_of(kind).replace("4x", "")))
    function = context.declare_function(module, descriptor)
    context.call_conv.call_function(builder, function, descriptor.restype, descriptor.argtypes, args)
    builder.ret(I32(0))


class _Unpacker:
    """Writes instructions that read arguments from words."""

    def __init__(self, context, builder):
        self.context, self.b = context, builder

    def at(self, pointer, words):
        return self.b.gep(pointer, [I64(words)])

    def load(self, pointer, kind):
        return self.b.load(self.b.bitcast(pointer, kind.as_pointer()))

    def value(self, kind, own, words, number):
        """Argument `number`, of Numba's type `own`."""
        if isinstance(kind, PackedKind):
            return self.value(kind.kind, own, self.load(words, I64.as_pointer()), number)
        if isinstance(kind, type):
            return self.number(own, words)
        if isinstance(kind[0], str):
            return self.array(own, self.load(words, I64.as_pointer()), number)
        items = []
        for item, item_type in zip(kind[1:], own, strict=True):
            items.append(self.value(item, item_type, words, number))
            words = self.at(words, len(formats_of(item).replace("4x", "")))
        return self.context.make_tuple(self.b, own, items)

    def number(self, own, words):
        """One of NUMBERS."""
        if own is types.boolean:
            return self.b.icmp_signed("!=", self.b.load(words), I64(0))
        return self.load(words, self.context.get_value_type(own))

    def array(self, own, head, number):
        """Numba's structure for an array object; the kernel is not called where that is not contiguous."""
        fields = self.at(head, HEAD)
        flags = self.load(self.at(fields, FLAGS), I32)
        with self.b.if_then(self.b.icmp_signed("==", self.b.and_(flags, I32(CONTIGUOUS)), I32(0)), likely=False):
            self.b.ret(I32(number + 1))
        array = self.context.make_array(own)(self.context, self.b)
        sizes = self.load(self.at(fields, SHAPE), I64.as_pointer())
        shape = [self.b.load(self.at(sizes, axis)) for axis in range(own.ndim)]
        itemsize = I64(self.context.get_abi_sizeof(self.context.get_data_type(own.dtype)))
        strides = [itemsize]
        for size in shape[:0:-1]:
            strides.insert(0, self.b.mul(strides[0], size))
        data = self.load(fields, array.data.type)
        populate_array(array, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
        return array._getvalue()
