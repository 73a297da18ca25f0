"""How other threads come into a kernel: without the GIL, called by the kernel itself.

The thread that calls a kernel calls the others in from within, by `enter`: it leaves the kernel's address and arguments
in a mailbox, where they look for a while after each call before they fall asleep.  So they come in less than a
microsecond: layers of a tenth of a millisecond still run on all cores.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from demitasse.layers.backend.cpu_compile import kernel
from demitasse.layers.backend.cpu_work import ENTERED, I64, MAILBOX, add, read, rest

# Words of a mailbox.  CALL: how often it was opened and closed, so odd while threads may come in; negative at the end.
# INSIDE: threads that are in a call, or about to look whether they may; FUNCTION, BLOCK: what they call, and with what.
CALL, INSIDE, ASLEEP, FUNCTION, BLOCK, WORDS = 0, 8, 16, 24, 32, 544


def _entrance(function):
    """The LLVM function block -> None that calls `function` with the arguments in the block."""
    module, types_ = function.module, [arg.type for arg in function.args]
    if 8 * (WORDS - BLOCK) < 8 * len(types_):
        raise ValueError(f"{function.name} has more arguments than a mailbox holds")
    entrance = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64.as_pointer()]), f"{function.name}.entrance")
    entrance.linkage = "internal"
    builder = ir.IRBuilder(entrance.append_basic_block())
    args = []
    for i, kind in enumerate(types_):
        if i < 2:  # where Numba's functions leave their value and their exception: nobody looks there
            args.append(builder.bitcast(builder.alloca(I64, 8), kind))
        else:
            place = builder.gep(entrance.args[0], [ir.Constant(I64, i)])
            args.append(builder.load(builder.bitcast(place, kind.as_pointer())))
    builder.call(function, args)
    builder.ret_void()
    return entrance


def _counts_references(args, i) -> bool:
    """Whether an argument is where Numba counts the references to an array: the first of two addresses of bytes in a
    row (the second is the array's Python object).

    The others get none to count with: one that comes in while the caller is on its way out would write to a count that
    is freed already.  The arrays themselves stay until all have left; see Pool.run.
    """
    byte_address = ir.IntType(8).as_pointer()
    return i > 1 and [arg.type for arg in args[i : i + 2]] == [byte_address, byte_address]


@intrinsic
def enter(typing, state):
    """0, 1, ... for the threads of a call in order of arrival; the first calls the others into the function that this
    stands in.  A kernel does this before anything else."""

    def generate(context, builder, signature, args):
        state = builder.inttoptr(args[0], I64.as_pointer())

        def in_state(i):
            return builder.gep(state, [ir.Constant(I64, i)])

        number = builder.atomic_rmw("add", in_state(ENTERED), ir.Constant(I64, 1), "seq_cst")
        mailbox = builder.load(in_state(MAILBOX))
        nothing = ir.Constant(I64, 0)
        opens = builder.and_(builder.icmp_signed("==", number, nothing), builder.icmp_signed("!=", mailbox, nothing))
        with builder.if_then(opens):
            words = builder.inttoptr(mailbox, I64.as_pointer())

            def word(i):
                return builder.gep(words, [ir.Constant(I64, i)])

            for i, arg in enumerate(builder.function.args):
                lent = ir.Constant(arg.type, None) if _counts_references(builder.function.args, i) else arg
                builder.store(lent, builder.bitcast(word(BLOCK + i), arg.type.as_pointer()))
            builder.store(builder.ptrtoint(_entrance(builder.function), I64), word(FUNCTION))
            builder.atomic_rmw("add", word(CALL), ir.Constant(I64, 1), "seq_cst")
        return number

    return types.int64(types.int64), generate


@intrinsic
def _go_in(typing, mailbox):
    """Call what the mailbox names."""

    def generate(context, builder, signature, args):
        words = builder.inttoptr(args[0], I64.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer()])
        function = builder.load(builder.gep(words, [ir.Constant(I64, FUNCTION)]))
        block = builder.gep(words, [ir.Constant(I64, BLOCK)])
        builder.call(builder.inttoptr(function, kind.as_pointer()), [block])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def _hear(typing, bell):
    """Sleep until the bell rings: read a number from a file of rings."""

    def generate(context, builder, signature, args):
        address = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(I64, [ir.IntType(32), address, I64])
        function = cgutils.get_or_insert_function(builder.module, kind, "read")
        number = builder.bitcast(cgutils.alloca_once(builder, I64), address)
        file = context.cast(builder, args[0], signature.args[0], types.int32)
        builder.call(function, [file, number, ir.Constant(I64, 8)])
        return context.get_dummy_value()

    return types.void(bell), generate


@kernel
def serve(mailbox, bell, looks):
    """Take part in every call; after so many looks without one sleep until the bell rings."""
    seen, left = 0, looks
    while True:
        call = read(mailbox, CALL)
        if call < 0:
            return
        if call != seen:
            if call % 2 == 1:
                add(mailbox, INSIDE, 1)
                if read(mailbox, CALL) == call:
                    _go_in(mailbox)
                add(mailbox, INSIDE, -1)
            seen, left = call, looks
        elif left > 0:
            left -= 1
            rest(left)
        else:
            add(mailbox, ASLEEP, 1)
            _hear(bell)
            add(mailbox, ASLEEP, -1)
            left = looks


@kernel
def close(mailbox):
    """Let nobody in any more, and wait until all have left."""
    if read(mailbox, CALL) % 2 == 1:
        add(mailbox, CALL, 1)
    looks = 0
    while read(mailbox, INSIDE) > 0:
        looks += 1
        rest(looks)
