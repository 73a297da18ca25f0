"""Lines of an image copied into a frame, with room for the pad beside them, in whole vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.gemm_microkernel import CACHE_LINE, TILE_LANES
from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils
from demitasse.layers.backend.cpu.operands import operand
from demitasse.layers.backend.cpu.simd import I64, Vec, Writer, void


class Lines(NamedTuple):
    """Pixels of a frame: number i of line j is data[start + j * ld + i % stride * component + i // stride]."""

    data: np.ndarray
    start: int
    ld: int
    component: int


@Intrinsic
def frame_lines(typing, x, size, lines, frame, pad, ahead, stride):
    """The Lines `frame` = so many lines of the Matrix x, `pad` pixels from the left: whole vectors, 0 beyond the image.

    size: floats of x that may be read; ahead: how far behind lies what is framed next, which is fetched meanwhile;
    stride: as long as the Lines' is.
    """

    def generate(context, builder, signature, args):
        w = Writer(context, builder, signature, args, TILE_LANES)
        x, size, lines, frame, pad, ahead = (
            operand(w, 0),
            *map(w.integer, (1, 2)),
            operand(w, 3),
            *map(w.integer, (4, 5)),
        )
        step, end = max(1, signature.args[6].count), w.at(x["data"], size)
        at_once = I64(step * TILE_LANES)
        whole, rest = builder.sdiv(x["ld"], at_once), builder.srem(x["ld"], at_once)
        starts = [_start(builder, frame, builder.add(pad, I64(i)), I64(step)) for i in range(step)]
        blocks = builder.sdiv(builder.add(x["ld"], I64(CACHE_LINE - 1)), I64(CACHE_LINE))

        def store(vectors, number):
            for vector, start in zip(vectors, starts, strict=True):
                w.store(vector, w.at(line, start, (number, TILE_LANES)))

        with cgutils.for_range(builder, lines) as loop:
            seen, line = w.at(x["data"], builder.mul(loop.index, x["ld"])), frame["data"]
            line = w.at(line, builder.mul(loop.index, frame["ld"]))
            with cgutils.for_range(builder, blocks) as block:
                w.fetch(w.at(seen, ahead, (block.index, CACHE_LINE)))
            with cgutils.for_range(builder, whole) as vector:
                store(w.deinterleave(w.at(seen, (vector.index, step * TILE_LANES)), step, step), vector.index)
            with builder.if_then(builder.icmp_signed("!=", rest, I64(0))):
                seen = w.at(seen, builder.mul(whole, at_once))
                within = builder.icmp_unsigned("<=", w.at(seen, step * TILE_LANES), end)
                with builder.if_else(within) as (inside, last):
                    with inside:
                        store(_without_others(w, w.deinterleave(seen, step, step), rest), whole)
                    with last:
                        store(_read_no_others(w, seen, step, rest), whole)
        return context.get_dummy_value()

    return void(x, size, lines, frame, pad, ahead, stride), generate


def _start(builder, frame, pixel, stride):
    """Where in its line of the frame a pixel lies."""
    component = builder.mul(builder.srem(pixel, stride), frame["component"])
    return builder.add(component, builder.sdiv(pixel, stride))


def _without_others(w, vectors, n):
    """The first n pixels, which are sorted by their remainders; 0 in the place of others."""
    step, kept = len(vectors), []
    for i, vector in enumerate(vectors):
        count = w.b.sdiv(w.b.add(n, I64(step - 1 - i)), I64(step))
        kept.append(Vec(w.b, w.b.select(w.below(count), vector.value, w.zero().value)))
    return kept


def _read_no_others(w, pointer, step, n):
    """The same of n pixels at an address, behind which nothing may be read."""
    vectors = [w.at(pointer, i * TILE_LANES) for i in range(step)]
    vectors = [w.load_some(at, w.below(w.b.sub(n, I64(i * TILE_LANES)))) for i, at in enumerate(vectors)]
    if step == 1:
        return vectors
    return [vectors[0].shuffle(vectors[1], range(i, 2 * TILE_LANES, 2)) for i in range(2)]
