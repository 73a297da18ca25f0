"""Ctrl-C, SIGTERM and SIGHUP as requests that the solver takes up between two iterations."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from demitasse.proto.errors import SolverFault

NONE, SNAPSHOT, STOP = 0, 1, 2
EFFECTS = {"none": NONE, "snapshot": SNAPSHOT, "stop": STOP}


class Signals:
    """While it is entered, the first Ctrl-C or SIGTERM asks for a snapshot and an end, a second one ends at once;
    SIGHUP asks for a snapshot.  `sigint`, `sighup`: "stop", "snapshot" or "none", as Caffe's flags have them.

    Calling it gives the pending request (NONE, SNAPSHOT, STOP) and forgets it.
    """

    def __init__(self, sigint: str = "stop", sighup: str = "snapshot"):
        for flag, effect in (("sigint_effect", sigint), ("sighup_effect", sighup)):
            if effect not in EFFECTS:
                raise SolverFault(f"{flag} is '{effect}': known are {', '.join(EFFECTS)}")
        self.effects = {signal.SIGINT: EFFECTS[sigint], signal.SIGTERM: STOP}
        if hasattr(signal, "SIGHUP"):
            self.effects[signal.SIGHUP] = EFFECTS[sighup]
        self.pending = NONE
        self.previous: dict[int, Any] = {}

    def __call__(self) -> int:
        request, self.pending = self.pending, NONE
        return request

    def __enter__(self):
        self.previous = {number: signal.signal(number, self._handle) for number in self.effects}
        return self

    def __exit__(self, *error):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        effect = self.effects[number]
        if effect == STOP:
            signal.signal(number, signal.SIG_DFL)  # ends it without a word, and in the middle of a kernel too
            # Not through the log: the signal may have come in the middle of its writing.
            with contextlib.suppress(OSError):  # nobody reads stderr any more
                os.write(2, b"\nStopping after this iteration, with a snapshot; once more stops at once.\n")
        self.pending = max(self.pending, effect)
