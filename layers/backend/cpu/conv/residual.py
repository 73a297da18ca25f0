"""What is left to do to a convolution's outputs while they are in the cache: a residual, slopes other than ReLU's."""

from __future__ import annotations

import numpy as np
from llvmlite import ir

from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils, inner_kernel
from demitasse.layers.backend.cpu.simd import I32, I64, Writer, void

LINE = 16  # floats of a cache line


@inner_kernel
def fetch_residual(outputs, start, n):
    """Have n numbers of the residual of Outputs fetched: nobody waits for them."""
    for i in range(0, n, LINE):
        _prefetch(outputs.residual, start + i)


@inner_kernel
def add_residual(outputs, y, start, n, k):
    """y[start + i] = relu(y[start + i] + residual[start + i]) for n outputs of channel k."""
    _add_and_relu(outputs.residual, start, y, start, n, outputs.last_slope[k])


@inner_kernel
def leak(y, start, n, slope):
    """y[start + i] = relu(y[start + i]) for n outputs, with a slope that vector code has left out: neither 0 nor 1."""
    if slope == 0 or slope == 1:
        return
    for i in range(np.uint64(start), np.uint64(start + n)):
        value = y[i]
        y[i] = value if value > 0 else value * slope


@Intrinsic
def _prefetch(typing, a, ia):
    """Have the cache line of a[ia] fetched."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args)
        place = builder.bitcast(w.pointer(0), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [place, *(ir.Constant(I32, number) for number in (0, 3, 1))])  # to read, into all caches
        return context.get_dummy_value()

    return void(a, ia), generate


@Intrinsic
def _add_and_relu(typing, a, ia, b, ib, n, slope):
    """b[ib + i] = relu(b[ib + i] + a[ia + i]) for n elements; slope 1: no relu."""

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, TILE_LANES)
        left, place, n, slope = w.pointer(0), w.pointer(2), w.integer(4), w.splat(args[5])
        lanes = ir.Constant(I64, TILE_LANES)
        rest = builder.srem(n, lanes)
        whole = builder.sub(n, rest)
        with cgutils.for_range(builder, builder.sdiv(n, lanes)) as loop:
            at = builder.mul(loop.index, lanes)
            here = w.at(place, at)
            w.store(w.relu(w.load(here) + w.load(w.at(left, at)), slope), here)
        with builder.if_then(builder.icmp_signed("!=", rest, ir.Constant(I64, 0))):
            here, first = w.at(place, whole), w.below(rest)
            value = w.load_some(here, first) + w.load_some(w.at(left, whole), first)
            w.store_some(w.relu(value, slope), here, first)
        return context.get_dummy_value()

    return void(a, ia, b, ib, n, slope), generate
