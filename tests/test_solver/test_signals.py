"""Ctrl-C and SIGHUP become requests; a second Ctrl-C ends at once."""

import os
import signal

import pytest

from demitasse.proto.errors import SolverFault
from demitasse.solver.signals import NONE, SNAPSHOT, STOP, Signals

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


def test_a_second_one_ends_at_once(capfd):
    with pytest.raises(KeyboardInterrupt), Signals():
        send(signal.SIGINT)
        assert "once more stops at once" in capfd.readouterr().err
        send(signal.SIGINT)


def test_effects_can_be_chosen():
    with Signals(sigint="snapshot", sighup="none") as signals:
        send(signal.SIGINT)
        send(signal.SIGINT)
        assert signals() == SNAPSHOT
        send(signal.SIGHUP)
        assert signals() == NONE
    with pytest.raises(SolverFault, match="sighup_effect is 'halt': known are none, snapshot, stop"):
        Signals(sighup="halt")
