"""No kernel of the CPU backend keeps a reference to what it was called with."""

import importlib
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

from demitasse.layers import backend
from demitasse.layers.backend.cpu import CpuBackend
from demitasse.layers.backend.cpu.threads import pool as cpu_threads
from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry
from demitasse.layers.backend.update_program import UpdateProgram, UpdateStep, UpdateTensor


def kernels():
    """Every kernel of the backend by its name: what a pool calls with the state of the call."""
    found = set()
    folder = Path(backend.__file__).parent
    for path in folder.glob("cpu/**/[a-z]*.py"):
        module = importlib.import_module(".".join([backend.__name__, *path.relative_to(folder).with_suffix("").parts]))
        for name, value in vars(module).items():
            function = getattr(value, "py_func", None)
            if function and function.__module__ == module.__name__ and "enter" in function.__code__.co_names:
                assert next(iter(inspect.signature(function).parameters)) == "state"
                found.add(f"{path.stem}.{name}")
    return found


@pytest.fixture
def kept(monkeypatch):
    """Kernel: references left behind by each of its calls since this fixture began."""
    counts, run = {}, cpu_threads.Pool.run

    def counted(pool, function, *args, **options):
        before = [sys.getrefcount(arg) for arg in args if isinstance(arg, np.ndarray)]
        run(pool, function, *args, **options)
        after = [sys.getrefcount(arg) for arg in args if isinstance(arg, np.ndarray)]
        module = function.__module__.rpartition(".")[2]
        counts.setdefault(f"{module}.{function.__name__}", []).append(sum(after) - sum(before))

    monkeypatch.setattr(cpu_threads.Pool, "run", counted)
    return counts


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def convolve(be, x_shape, k_out, kernel, stride, pad, group=1):
    geom = ConvGeometry((kernel, kernel), (stride, stride), (pad, pad), (1, 1), group)
    x, w, b = random(*x_shape), random(k_out, x_shape[1] // group, kernel, kernel), random(k_out)
    dy = random(x_shape[0], k_out, *geom.out_size(x_shape[2:]))
    be.conv_forward(x, w, b, geom, 0.0)
    be.conv_backward_weights(x, dy, geom, np.zeros_like(w))
    be.conv_backward_data(dy, w, geom, x_shape[2:])


def call_every_primitive(be):
    convolve(be, (1, 64, 40, 50), 64, 3, 1, 1)  # a tile transform
    convolve(be, (1, 3, 141, 120), 48, 7, 2, 3)  # directly, or over polyphase components
    convolve(be, (2, 48, 27, 27), 64, 5, 1, 2)  # and its adjoint
    border = np.pad(random(1, 16, 60, 70), ((0, 0), (0, 0), (99, 99), (99, 99)))
    same = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))
    be.conv_forward(border, random(16, 16, 3, 3), None, same, residual=border)  # equal lines
    be.conv_backward_weights(border, border, same, random(16, 16, 3, 3))
    convolve(be, (2, 40, 60, 62), 64, 7, 2, 2)  # over polyphase components
    convolve(be, (1, 8, 140, 133), 8, 5, 2, 2)  # and its phases
    be.to_nchw(be.conv_forward(border, random(4, 16, 3, 3), None, same, repeats=True))
    convolve(be, (1, 4, 9, 9), 4, 3, 2, 1, 4)  # each channel alone
    convolve(be, (1, 400, 9, 9), 400, 1, 1, 0)  # with large weights
    convolve(be, (1, 4, 5, 5), 4, 1, 1, 1)  # whose border sees nothing but pad
    w = random(3, 3, 4, 4) * np.eye(3, dtype=np.float32)[..., None, None]
    geom = ConvGeometry((4, 4), (2, 2), (0, 0), (1, 1))
    be.conv_backward_data(random(1, 3, 5, 5), w, geom, geom.in_size((5, 5)), random(3), 0.1, True)
    be.matmul(random(5, 70), random(70, 33))
    be.matmul(random(1, 70), random(33, 70), tb=True)
    be.products()
    x, dy, channel = random(2, 5, 30, 20), random(2, 5, 30, 20), random(5)
    be.concatenate([x, dy], 1)
    be.bias_backward(dy, np.zeros(5, np.float32))
    be.relu_backward(dy, be.relu_forward(x, 0.1), 0.1)
    be.prelu_forward(x, channel)
    be.prelu_backward(dy, x, channel)
    be.affine(x, channel, channel, channel)
    be.affine_backward(dy, x, channel, channel.copy(), channel.copy(), x, 0.1)
    be.normalize_backward(dy, x, be.moments(x)[1])
    be.clear([channel])
    be.weighted_sum([x, dy], [1, -1])
    be.dropout_backward(dy, x > 0, 0.5)
    for kernel, step in ((2, 2), (3, 2), (5, 3)):
        out = tuple(-(-(n - kernel) // step) + 1 for n in x.shape[2:])
        pool = PoolGeometry((kernel, kernel), (step, step), (0, 0), out)
        be.max_pool(x, pool)
        y, index = be.max_pool_forward(x, pool)
        be.max_pool_backward(y, index, pool, x.shape[2:])
        be.ave_pool_forward(x, pool)
        be.ave_pool_backward(y, pool, x.shape[2:])
    image, cells = np.zeros(2, np.int32), np.array([[[0, 9], [5, 20]], [[1, 3], [2, 7]]], np.int32)
    y, index = be.region_max_forward(x, image, cells, cells)
    be.region_max_backward(y, index, image, x.shape)
    planes = random(2, 8, 30, 20)
    be.region_mean_backward(be.region_mean_forward(planes, image, cells, cells), image, cells, cells, planes.shape)
    rows, columns = (np.ones((len(image), 2, size), np.float32) for size in planes.shape[2:])
    be.region_weighted_backward(
        be.region_weighted_forward(planes, image, rows, columns), image, rows, columns, planes.shape
    )
    y, scale = be.lrn_forward(x, 5, 0.1, 0.75, 1.0)
    be.lrn_backward(dy, x, y, scale, 5, 0.1, 0.75)
    be.softmax_forward(random(3, 5), 1)
    prob = be.softmax_forward(x, 1)
    be.softmax_loss_backward(prob, np.zeros((2, 30, 20)), 1, None, 1.0)
    be.interleave(planes, 2)
    be.part(planes, 1, 0, 2)
    be.permute(planes, (0, 2, 3, 1))
    program = UpdateProgram(("w",), ("rate",), (UpdateStep("w", "*", "w", "rate"),))
    be.update(program, [UpdateTensor((random(40),), (0.5,))])
    be.record(lambda: be.empty((40,)).__setitem__(..., 0.0))


@pytest.mark.parametrize("threads", [1, 2])
def test_no_kernel_keeps_a_reference(threads, kept):
    for exact in (False, True):
        call_every_primitive(CpuBackend(exact=exact, threads=threads))
    assert set(kept) == kernels()
    assert {name: n for name, n in kept.items() if any(n)} == {}
