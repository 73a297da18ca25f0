"""How other threads come into a kernel: without the GIL, called by the kernel itself.

The thread that calls a kernel calls the others in from within, by `enter`: it leaves the kernel's address and arguments
in a mailbox, where they look for a while after each call before they sleep.  So they join in less than a
microsecond: layers of a tenth of a millisecond still run on all cores.

All of a call, from the first to come until the last has left, passes inside the one compiled function that the caller
enters.  Nothing that interrupts Python can come between, so no mailbox is left open.  Threads sleep on a POSIX
condition in the mailbox's own memory: there is no file descriptor that a program could close.
"""

from __future__ import annotations

from llvmlite import ir

from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils, inlined, inner, kernel, types
from demitasse.layers.backend.cpu.threads.work_stealing import ENTERED, I64, MAILBOX, add, read, rest

# Words of a mailbox.  CALL: how often it was opened and closed, so odd while threads may join; negative at the end.
# INSIDE: threads that are in a call, or about to look whether they may; BUSY: callers that have the mailbox (at most
# one) or ask for it; WAKES: how often sleepers were woken; FUNCTION, BLOCK: what is called, and with what.
CALL, INSIDE, ASLEEP, BUSY, WAKES, MUTEX, CONDITION, FUNCTION, BLOCK, WORDS = 0, 8, 16, 24, 32, 40, 56, 72, 80, 592


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
        if i < 2:  # where Numba's functions leave their value and their exception: nobody reads them
            args.append(builder.bitcast(builder.alloca(I64, 8), kind))
        else:
            place = builder.gep(entrance.args[0], [ir.Constant(I64, i)])
            args.append(builder.load(builder.bitcast(place, kind.as_pointer())))
    builder.call(function, args)
    builder.ret_void()
    return entrance


@Intrinsic
def _invite(typing, mailbox):
    """Leave the function that this stands in, with its arguments, in the mailbox."""

    def generate(context, builder, signature, args):
        words = builder.inttoptr(args[0], I64.as_pointer())

        def word(i):
            return builder.gep(words, [ir.Constant(I64, i)])

        for i, arg in enumerate(builder.function.args):
            builder.store(arg, builder.bitcast(word(BLOCK + i), arg.type.as_pointer()))
        builder.store(builder.ptrtoint(_entrance(builder.function), I64), word(FUNCTION))
        return context.get_dummy_value()

    return types.void(types.int64), generate


@Intrinsic
def _call_entry(typing, mailbox):
    """Call what the mailbox names."""

    def generate(context, builder, signature, args):
        words = builder.inttoptr(args[0], I64.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer()])
        function = builder.load(builder.gep(words, [ir.Constant(I64, FUNCTION)]))
        block = builder.gep(words, [ir.Constant(I64, BLOCK)])
        builder.call(builder.inttoptr(function, kind.as_pointer()), [block])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@inner
def _close(mailbox):
    """Let nobody in any more, and wait until all have left."""
    add(mailbox, CALL, 1)
    spins = 0
    while read(mailbox, INSIDE) > 0:
        spins += 1
        rest(spins)


@inlined
def enter(state):
    """0, 1, ... for the threads of a call in order of arrival.  A kernel does this before anything else.

    The caller first goes through the whole kernel with the others, as one that is called in, and closes the mailbox:
    what it then does as number 0 of its own finds every job done.  Where another caller has the mailbox it is alone.
    """
    number, mailbox = add(state, ENTERED, 1), read(state, MAILBOX)
    if number == 0 and mailbox != 0:
        if add(mailbox, BUSY, 1) == 0:
            add(state, MAILBOX, -mailbox)
            add(state, ENTERED, -1)
            _invite(mailbox)
            add(mailbox, CALL, 1)
            _call_entry(mailbox)
            _close(mailbox)
        add(mailbox, BUSY, -1)
    return number


def _posix(name, *offsets):
    """An intrinsic that calls a function of the C library with addresses: the mailbox's words at `offsets`, or NULL."""

    def call(typing, mailbox):
        def generate(context, builder, signature, args):
            address = ir.IntType(8).as_pointer()
            words = builder.inttoptr(args[0], I64.as_pointer())
            given = [
                ir.Constant(address, None)
                if offset is None
                else builder.bitcast(builder.gep(words, [ir.Constant(I64, offset)]), address)
                for offset in offsets
            ]
            kind = ir.FunctionType(ir.IntType(32), [address] * len(offsets))
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)
            return context.get_dummy_value()

        return types.void(types.int64), generate

    call.__name__ = name
    return Intrinsic(call)


_make_mutex = _posix("pthread_mutex_init", MUTEX, None)
_make_condition = _posix("pthread_cond_init", CONDITION, None)
_lock = _posix("pthread_mutex_lock", MUTEX)
_unlock = _posix("pthread_mutex_unlock", MUTEX)
_wait = _posix("pthread_cond_wait", CONDITION, MUTEX)
_broadcast = _posix("pthread_cond_broadcast", CONDITION)


@kernel
def prepare(mailbox):
    """Make a mailbox of words that are zero."""
    _make_mutex(mailbox)
    _make_condition(mailbox)


@inner
def _wake(mailbox):
    _lock(mailbox)
    add(mailbox, WAKES, 1)
    _broadcast(mailbox)
    _unlock(mailbox)


@kernel
def wake_all(mailbox):
    """Have all who sleep look into the mailbox."""
    _wake(mailbox)


@Intrinsic
def _call_code(typing, code, words):
    """Call the machine code of a kernel with its arguments (see jit): both are addresses."""

    def generate(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(32), [I64.as_pointer()])
        function, words = builder.inttoptr(args[0], kind.as_pointer()), builder.inttoptr(args[1], I64.as_pointer())
        builder.call(function, [words])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@kernel
def call_all(codes, words, mailbox):
    """Call kernels one after the other, for whom those who sleep are woken; mailbox: 0 where there are none."""
    for i in range(codes.size):
        if mailbox != 0 and read(mailbox, ASLEEP) > 0:
            _wake(mailbox)
        _call_code(codes[i], words[i])


@inner
def _sleep(mailbox):
    """Until the next wake_all, or the end."""
    _lock(mailbox)
    add(mailbox, ASLEEP, 1)
    wakes = read(mailbox, WAKES)
    while read(mailbox, WAKES) == wakes and read(mailbox, CALL) >= 0:
        _wait(mailbox)
    add(mailbox, ASLEEP, -1)
    _unlock(mailbox)


@kernel
def serve(mailbox, spins):
    """Take part in every call; after so many spins without one sleep until woken."""
    seen, left = 0, spins
    while True:
        call = read(mailbox, CALL)
        if call < 0:
            return
        if call != seen:
            if call % 2 == 1:
                add(mailbox, INSIDE, 1)
                if read(mailbox, CALL) == call:
                    _call_entry(mailbox)
                add(mailbox, INSIDE, -1)
            seen, left = call, spins
        elif left > 0:
            left -= 1
            rest(left)
        else:
            _sleep(mailbox)
            left = spins


@kernel
def retire(mailbox):
    """Send all away, when the call that is on has ended; later callers are alone."""
    add(mailbox, BUSY, 1)
    spins = 0
    while read(mailbox, BUSY) > 1:
        spins += 1
        rest(spins)
    add(mailbox, CALL, -2 - read(mailbox, CALL))
    _wake(mailbox)
