"""Ctrl-C and SIGHUP become requests; a second Ctrl-C ends at once."""

import os
import signal
import subprocess
import sys

import pytest

from demitasse.proto.errors import SolverFault
from demitasse.solver.signals import NONE, SNAPSHOT, STOP, Signals
from tests.test_solver import small

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="these signals are of POSIX systems")


def send(number):
    os.kill(os.getpid(), number)


def test_requests_are_taken_up_once():
    before = signal.getsignal(signal.SIGINT)
    with Signals() as signals:
        assert signals() == NONE
        send(signal.SIGHUP)
        assert (signals(), signals()) == (SNAPSHOT, NONE)
        send(signal.SIGINT)
        send(signal.SIGHUP)
        assert (signals(), signals()) == (STOP, NONE)
        send(signal.SIGTERM)
        assert signals() == STOP
    assert signal.getsignal(signal.SIGINT) is before


TWICE = """
import os, signal
from demitasse.solver.signals import Signals
with Signals():
    for _ in range(2):
        os.kill(os.getpid(), signal.{})
        print("still here", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("stderr", [True, False])
def test_a_second_one_ends_at_once_and_without_a_word(name, stderr):
    with open("/dev/full" if os.path.exists("/dev/full") else os.devnull, "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", TWICE.format(name)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if stderr else full,
            env=small.environment(),
            timeout=60,
        )
    assert done.returncode == -getattr(signal, name) and done.stdout == b"still here\n"
    if stderr:
        assert done.stderr == b"\nStopping after this iteration, with a snapshot; once more stops at once.\n"


def test_effects_can_be_chosen():
    with Signals(sigint="snapshot", sighup="none") as signals:
        send(signal.SIGINT)
        send(signal.SIGINT)
        assert signals() == SNAPSHOT
        send(signal.SIGHUP)
        assert signals() == NONE
    with pytest.raises(SolverFault, match="sighup_effect is 'halt': known are none, snapshot, stop"):
        Signals(sighup="halt")
