"""The threads of the CPU backend."""

import time

import numba
import numpy as np
import pytest

from layers.backend import cpu_threads

ARRAYS = ("state", "a", "b", "c.0", "c.1")


@pytest.fixture
def lent(monkeypatch):
    """The arguments that other threads do not get when a kernel is compiled."""
    names, asked = [], cpu_threads._counts_references

    def ask(args, i):
        if asked(args, i):
            names.append(args[i].name)
        return asked(args, i)

    monkeypatch.setattr(cpu_threads, "_counts_references", ask)
    return names


def test_threads_that_come_late_count_no_references(lent):
    """The caller's counts are freed when its kernel returns, which is before the last thread has left."""

    @numba.njit(nogil=True)
    def kernel(state, a, b, c, nothing, number):
        me = cpu_threads.enter(state)
        for _ in cpu_threads.work(state, me, 0, 1):
            a[0], b[0], c[0][0], c[1][0] = number, True, 2, 3

    a, b, c = np.zeros(4, np.float32), np.zeros(2, bool), (np.zeros(1, np.uint8), np.zeros((2, 2)).reshape(-1))
    cpu_threads.Pool(2).run(kernel, 1, a, b, c, None, 5.0)
    assert (a[0], b[0], c[0][0], c[1][0]) == (5, True, 2, 3)
    counts = [name for name in lent if name != "arg.nothing"]
    assert counts == [f"arg.{name}.0" for name in ARRAYS]


@numba.njit(nogil=True)
def count(state, jobs, seen):
    me = cpu_threads.enter(state)
    for job in cpu_threads.work(state, me, 0, jobs):
        seen[job] += 1


@pytest.mark.parametrize("bell", ["eventfd", "pipe"])
def test_threads_that_fell_asleep_are_woken(bell, monkeypatch):
    if bell == "pipe":
        monkeypatch.delattr("os.eventfd", raising=False)
    pool, seen = cpu_threads.Pool(3), np.zeros(100, np.int64)
    for calls in range(1, 21):
        pool.run(count, 1, 100, seen)
        team = pool._team
        if calls % 5 == 0:
            while team._mailbox[cpu_threads.ASLEEP] < 2:      # both helpers fall asleep
                time.sleep(0.001)
        assert (seen == calls).all()
    team._stop()
    assert not any(thread.is_alive() for thread in team._threads)
