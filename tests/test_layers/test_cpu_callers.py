"""Who calls the CPU's kernels: several threads, forked processes; the memory and the threads that they get."""

import gc
import multiprocessing
import threading

import numpy as np
import pytest

from demitasse.layers.backend.cpu import CpuBackend
from demitasse.layers.backend.cpu.allocator import Arena, MemoryPool
from demitasse.layers.backend.cpu.threads.pool import Pool
from demitasse.layers.backend.geometry import ConvGeometry


def test_many_callers_at_once():
    """Data threads may compute while the net does."""
    ours, rng = CpuBackend(threads=2), np.random.default_rng(0)
    geom = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 64, 40, 40), (64, 64, 3, 3)))
    expected, same = ours.conv_forward(x, w, None, geom), []

    def work():
        same.extend(np.array_equal(ours.conv_forward(x, w, None, geom), expected) for _ in range(10))

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(same) == 40 and all(same)


def _relu_in_child(queue):
    queue.put(float(CpuBackend(threads=2).relu_forward(np.full((4, 1 << 18), -1, np.float32), 0.5).sum()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    CpuBackend(threads=2).relu_forward(np.ones((4, 1 << 18), np.float32), 0.0)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_relu_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == -0.5 * (1 << 20)
    child.join()


def test_memory_comes_back_and_is_shared_by_sizes():
    pool = MemoryPool()
    a = pool.empty((3, 1000, 1000), np.float32)
    assert a.flags.c_contiguous and a.flags.writeable and a.ctypes.data % 64 == 0
    first, view = a.ctypes.data, a[1:]
    del a
    gc.collect()
    assert pool.used > 0, "a view keeps the block"
    del view
    gc.collect()
    assert pool.used == 0 and pool.peak < 13 << 20
    other = pool.empty(1_000_000, np.float32)
    again = pool.empty((3_000_000), np.float32)
    assert again.ctypes.data == first != other.ctypes.data, "as long as there is room each size has its place"
    del other, again
    large = pool.empty(16_000_000, np.float32)
    assert large.ctypes.data == first, "blocks that wait grow together again"
    many = [pool.empty(5_000_000, np.float32) for _ in range(3)]  # in a second arena
    place = many[0].ctypes.data
    del many
    assert pool.empty(8_000_000, np.float32).ctypes.data == place, "now at once"
    pieces = [pool.empty(1_000_000, np.float32) for _ in range(3)]
    assert pieces[0].ctypes.data == place, "smaller blocks are cut from the same place"


def test_a_pool_has_the_threads_it_was_asked_for():
    assert Pool(2).threads == 2


def test_an_interrupt_while_spare_blocks_are_joined_gives_none_out_twice(monkeypatch):
    pool = MemoryPool()
    arrays = [pool.empty(1 << 20, np.uint8) for _ in range(4)]
    del arrays
    give_back = Arena.give_back

    def interrupted(arena, start, end):
        give_back(arena, start, end)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Arena, "give_back", interrupted)
        pool.clear()
    held = [pool.empty(1 << 20, np.uint8) for _ in range(8)]
    for i, array in enumerate(held):
        array[...] = i
    assert all((array == i).all() for i, array in enumerate(held))
