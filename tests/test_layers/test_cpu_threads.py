"""The threads of the CPU backend."""

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.threads import fork_join as cpu_mailbox
from demitasse.layers.backend.cpu.threads import pool as cpu_threads
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.pool import Pool, shared_pool
from demitasse.layers.backend.cpu.threads.work_stealing import wait, work
from demitasse.proto.errors import SolverFault

ROOT = Path(__file__).resolve().parents[2]


@kernel
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


@kernel
def add_up(state, scratch, supersteps, jobs, sums):
    me = enter(state)
    for p in range(supersteps):
        for job in work(state, me, p, jobs, True):
            scratch[me][job] = job
            sums[p, job] = scratch[me][job] + (sums[p - 1].sum() if p else 0)
        wait(state, p, jobs)


def test_a_superstep_waits_for_the_one_before_it_and_scratch_is_ones_own():
    sums, expected = np.zeros((4, 9)), np.zeros((4, 9))
    for p in range(4):
        expected[p] = np.arange(9) + expected[p - 1].sum() * (p > 0)
    for threads in (1, 2, 3):
        sums[...] = 0
        Pool(threads).run(add_up, 4, 4, 9, sums, scratch=9)
        assert np.array_equal(sums, expected)


def wait_until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_threads_that_fell_asleep_are_woken():
    pool, seen = Pool(3), np.zeros(100, np.int64)
    for calls in range(1, 21):
        pool.run(count, 1, 100, seen)
        team = pool._team
        if calls % 5 == 0:
            wait_until(lambda box=team._mailbox: box[cpu_mailbox.ASLEEP] == 2)  # both helpers sleep
        assert (seen == calls).all()
    team.stop()
    assert not any(thread.is_alive() for thread in team._threads)
    pool.run(count, 1, 100, seen)
    assert (seen == 21).all(), "the caller alone"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list a process's open files")
def test_a_pool_has_no_file_that_could_be_closed():
    before = set(os.listdir("/proc/self/fd"))
    Pool(3).run(count, 1, 100, np.zeros(100, np.int64))
    assert set(os.listdir("/proc/self/fd")) == before


class Interrupt(BaseException):
    pass


def test_interrupts_leave_no_mailbox_open():
    """They come to the calling thread wherever Python looks for them: none while a call is on."""
    pool, seen, caught, ended = Pool(2), np.zeros(64, np.int64), [], threading.Event()
    pool.run(count, 1, 64, seen)
    mailbox = pool._team._mailbox

    def call():
        while not ended.is_set():
            try:
                for _ in range(100):
                    pool.run(count, 1, 64, seen)
            except Interrupt:
                assert mailbox[cpu_mailbox.CALL] % 2 == 0 and mailbox[cpu_mailbox.BUSY] == 0
                caught.append(mailbox[cpu_mailbox.INSIDE])

    def shielded():
        while not ended.is_set():
            with contextlib.suppress(Interrupt):
                call()

    caller = threading.Thread(target=shielded)
    caller.start()
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    for _ in range(1000):
        raise_in(ctypes.c_ulong(caller.ident), ctypes.py_object(Interrupt))
        time.sleep(0.0002)
    ended.set()
    caller.join()
    assert len(caught) > 10
    assert (seen == seen[0]).all(), "every call that began has done all its jobs"


def test_callers_at_once_are_each_served():
    pool, counts = Pool(2), [np.zeros(100, np.int64) for _ in range(4)]

    def call(seen):
        for _ in range(200):
            pool.run(count, 1, 100, seen)

    callers = [threading.Thread(target=call, args=(seen,)) for seen in counts]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((seen == 200).all() for seen in counts)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_mask_of_cores_holds_for_all_threads():
    pool, seen, mask = Pool(3), np.zeros(100, np.int64), os.sched_getaffinity(0)
    pool.run(count, 1, 100, seen)
    try:
        one = {min(mask)}
        os.sched_setaffinity(0, one)
        pool.run(count, 1, 100, seen)
        assert pool._team.wake() is False
        assert all(os.sched_getaffinity(thread.native_id) == one for thread in pool._team._threads)
    finally:
        os.sched_setaffinity(0, mask)
    pool.run(count, 1, 100, seen)
    assert all(os.sched_getaffinity(thread.native_id) <= mask for thread in pool._team._threads)
    assert (seen == 3).all()


def test_no_more_threads_than_cores_are_started(monkeypatch):
    monkeypatch.setattr(cpu_threads, "usable_cores", lambda: 2)
    assert [(p.threads, p._helpers) for p in map(shared_pool.__wrapped__, (None, 1, 2, 64))] == [
        (2, 1),
        (1, 0),
        (2, 1),
        (64, 1),
    ]


def test_one_switch_computes_without_other_threads(monkeypatch):
    monkeypatch.setenv("DEMITASSE_THREADING", "serial")
    pool, seen = shared_pool.__wrapped__(3), np.zeros(100, np.int64)
    pool.run(count, 1, 100, seen)
    assert (seen == 1).all() and pool._team is None
    monkeypatch.setenv("DEMITASSE_THREADING", "nubma")
    with pytest.raises(SolverFault, match="DEMITASSE_THREADING=nubma"):
        shared_pool.__wrapped__(3)


FORKS = """
import os, threading
import numpy as np
from demitasse.layers.backend.cpu import CpuBackend
x = np.full((4, 1 << 16), -1, np.float32)

def relu():
    return float(CpuBackend(threads=2).relu_forward(x, 0.5).sum()) == -0.5 * x.size

first = threading.Thread(target=relu)
if BEFORE:
    first.start()
else:
    relu()
for _ in range(10):
    child = os.fork()
    if not child:
        os._exit(not relu())
    assert os.waitpid(child, 0)[1] == 0
if BEFORE:
    first.join()
"""


NET_FORKS = """
import os, threading, time
import numpy as np
from demitasse.netdef.net import Net
from tests.test_netdef.texts import blob, conv, layer

TEXT = (
    blob("data", (1, 3, 20, 24)) + conv("c", "data", 8) + layer("ReLU", "r", "c", "c")
    + layer("Pooling", "p", "c", more="pooling_param { kernel_size: 2 stride: 2 }") + layer("LRN", "n", "p")
    + layer("Deconvolution", "up", "n", more="convolution_param { num_output: 3 kernel_size: 4 stride: 2 "
      "weight_filler { type: 'bilinear' } }")
    + layer("Crop", "crop", "up data") + layer("Softmax", "prob", "crop")
)
x, shared, found = np.random.RandomState(0).rand(1, 3, 20, 24), Net(TEXT, seed=1), []

first = threading.Thread(target=lambda: found.append(shared.forward({"data": x})["prob"].tobytes()))
first.start()
children, during = {}, 0
while len(children) < 8:
    during += first.is_alive()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        net = shared if len(children) % 2 else Net(TEXT, seed=1)
        os._exit(os.write(write, net.forward({"data": x})["prob"].tobytes()) <= 0)
    os.close(write)
    children[child] = read
    time.sleep(0.004)
first.join()
for child, read in children.items():
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == found[0]
    assert os.waitpid(child, 0)[1] == 0
assert during
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_processes_forked_while_a_net_runs_for_the_first_time():
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-W", "ignore::UserWarning", "-c", NET_FORKS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("before", [True, False], ids=["during the first call", "after use"])
def test_a_forked_process_computes(before):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS.replace("BEFORE", str(before))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
