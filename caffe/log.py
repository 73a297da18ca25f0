"""Caffe's log for scripts: init_log, log, and GLOG_minloglevel (1: warnings only, 2 and more: nothing)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from demitasse.proto.errors import printable

if TYPE_CHECKING:
    from demitasse.solver.log import Silent


class _Level:
    least: int | None = None  # of init_log; None: as the environment says


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Show lines from this level on: 0 all, 1 warnings, 2 none.  They go to stderr in any case."""
    _Level.least = int(level)


def log(message: str) -> None:
    """Write a line as Caffe's own are."""
    make_log().info(printable(str(message)))


def make_log() -> Silent:
    """The log of a solver."""
    from demitasse.solver.log import Log, Silent, Warnings  # here: a script that runs one net has nothing to tell

    least = _Level.least
    if least is None:
        text = os.environ.get("GLOG_minloglevel", "0")
        least = int(text) if text.isdigit() else 0
    if least >= 2:
        return Silent()
    return Warnings(terminal=False) if least == 1 else Log()
