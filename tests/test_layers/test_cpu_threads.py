"""The threads of the CPU backend."""

import time

import numba
import numpy as np
import pytest

from demitasse.layers.backend import cpu_mailbox
from demitasse.layers.backend.cpu_mailbox import enter
from demitasse.layers.backend.cpu_threads import Pool
from demitasse.layers.backend.cpu_work import wait, work

ARRAYS = ("a", "b", "c.0", "c.1")


@pytest.fixture
def lent(monkeypatch):
    """The arguments that other threads do not get when a kernel is compiled."""
    names, asked = [], cpu_mailbox._counts_references

    def ask(args, i):
        if asked(args, i):
            names.append(args[i].name)
        return asked(args, i)

    monkeypatch.setattr(cpu_mailbox, "_counts_references", ask)
    return names


def test_threads_that_come_late_count_no_references(lent):
    """The caller's counts are freed when its kernel returns, which is before the last thread has left."""

    @numba.njit(nogil=True)
    def kernel(state, a, b, c, nothing, number):
        me = enter(state)
        for _ in work(state, me, 0, 1):
            a[0], b[0], c[0][0], c[1][0] = number, True, 2, 3

    a, b, c = np.zeros(4, np.float32), np.zeros(2, bool), (np.zeros(1, np.uint8), np.zeros((2, 2)).reshape(-1))
    Pool(2).run(kernel, 1, a, b, c, None, 5.0)
    assert (a[0], b[0], c[0][0], c[1][0]) == (5, True, 2, 3)
    counts = [name for name in lent if name != "arg.nothing"]
    assert counts == [f"arg.{name}.0" for name in ARRAYS]


@numba.njit(nogil=True)
def count(state, jobs, seen):
    me = enter(state)
    for job in work(state, me, 0, jobs):
        seen[job] += 1


@pytest.mark.parametrize("threads, jobs", [(1, 7), (2, 7), (3, 100), (5, 2), (3, 0)])
def test_every_job_is_done_once(threads, jobs):
    """Also where threads come late, or not at all: `state` is then that of a call with one."""
    pool, seen = Pool(threads), np.zeros(100, np.int64)
    for _ in range(20):
        pool.run(count, 1, jobs, seen)
    assert (seen[:jobs] == 20).all() and not seen[jobs:].any()


@numba.njit(nogil=True)
def add_up(state, scratch, phases, jobs, sums):
    me = enter(state)
    for p in range(phases):
        for job in work(state, me, p, jobs, True):
            scratch[me][job] = job
            sums[p, job] = scratch[me][job] + (sums[p - 1].sum() if p else 0)
        wait(state, p, jobs)


def test_a_phase_waits_for_the_one_before_it_and_scratch_is_ones_own():
    sums, expected = np.zeros((4, 9)), np.zeros((4, 9))
    for p in range(4):
        expected[p] = np.arange(9) + expected[p - 1].sum() * (p > 0)
    for threads in (1, 2, 3):
        sums[...] = 0
        Pool(threads).run(add_up, 4, 4, 9, sums, scratch=9)
        assert np.array_equal(sums, expected)


@pytest.mark.parametrize("bell", ["eventfd", "pipe"])
def test_threads_that_fell_asleep_are_woken(bell, monkeypatch):
    if bell == "pipe":
        monkeypatch.delattr("os.eventfd", raising=False)
    pool, seen = Pool(3), np.zeros(100, np.int64)
    for calls in range(1, 21):
        pool.run(count, 1, 100, seen)
        team = pool._team
        if calls % 5 == 0:
            end = time.monotonic() + 60
            while team._mailbox[cpu_mailbox.ASLEEP] < 2:  # both helpers fall asleep
                assert time.monotonic() < end
                time.sleep(0.001)
        assert (seen == calls).all()
    team._stop()
    assert not any(thread.is_alive() for thread in team._threads)
