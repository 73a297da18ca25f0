"""Elementwise programs on all learned arrays in one launch: the steps become the body of update.cu's loop."""

from __future__ import annotations

import functools

import numpy as np

from demitasse.layers.backend.update_program import UpdateProgram, UpdateStep, UpdateTensor

CHUNK = 16384  # as in update.cu
MAX_ARRAYS = 4  # as in update.cu
ZERO = UpdateProgram(("g",), ("zero",), (UpdateStep("g", "+", "zero", "zero"),))


def update(be, program, tensors):
    pointers = tuple((*(array.data.ptr for array in arrays), arrays[0].size) for arrays, _ in tensors)
    values = tuple(scalars for _, scalars in tensors)
    old_pointers, old_values, *tables = be.update_tables.get(program, (None, None, None, None, None))
    table, chunks, scalars = tables
    if pointers != old_pointers:
        table, chunks = _tables(be, pointers)
    if values != old_values:
        scalars = be.asarray(values, np.float32)
    be.update_tables[program] = pointers, values, table, chunks, scalars
    count = len(chunks)
    if count:
        arguments = table, chunks, scalars, np.int32(count)
        be.runtime.launch("update", "update", count, *arguments, blocks=count, defines=defines(program))


def clear(be, arrays):
    be.update(ZERO, [UpdateTensor((array,), (0.0,)) for array in arrays])


def _tables(be, pointers):
    """(Tensors, chunks) as update.cu takes them."""
    table = [[*row[:-1], *[0] * (MAX_ARRAYS + 1 - len(row)), row[-1]] for row in pointers]
    chunks = [(i, j) for i, row in enumerate(pointers) for j in range(-(-row[-1] // CHUNK))]
    return be.asarray(table, np.int64), be.asarray(chunks, np.int32)


@functools.cache
def defines(program: UpdateProgram) -> str:
    """What update.cu needs before its text: a program's names are variables with x_ before them."""
    written = dict.fromkeys(step.out for step in program.steps)
    scalars = [f"const float x_{name} = scalars[{i}];" for i, name in enumerate(program.scalars)]
    body = [f"float x_{name} = tensor.arrays[{i}][at];" for i, name in enumerate(program.arrays)]
    body += [f"float x_{name};" for name in written if name not in program.arrays]
    body += map(_statement, program.steps)
    body += [f"tensor.arrays[{i}][at] = x_{name};" for i, name in enumerate(program.arrays) if name in written]
    return (
        f"#define SCALARS {len(program.scalars)}\n#define SCALAR_VALUES {' '.join(scalars)}\n"
        f"#define PROGRAM {' '.join(body)}\n"
    )


def _statement(step: UpdateStep) -> str:
    if step.operator == "sqrt":
        return f"x_{step.out} = sqrtf(x_{step.a});"
    if step.operator == "sign":
        return f"x_{step.out} = (x_{step.a} > 0.f) - (x_{step.a} < 0.f);"
    return f"x_{step.out} = x_{step.a} {step.operator} x_{step.b};"
