"""Warnings that point to the line of the user's program, however deep in the engine they arise."""

from __future__ import annotations

import os
import sys
import warnings

ENGINE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OURS = tuple(os.path.join(ENGINE, name, "") for name in ("proto", "layers", "netdef", "solver", "models", "caffe"))


def warn(text: str) -> None:
    """Warn of what is read or built, but was hardly meant; Python shows it with the nearest line that is not ours.

    Commands show the text alone (proto/cli.py).
    """
    frame, level = sys._getframe(1), 2  # the level of who calls this
    while frame.f_back and frame.f_code.co_filename.startswith(OURS):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
