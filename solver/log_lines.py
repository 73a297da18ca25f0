"""Caffe's log lines: glog's prefix, and a line for each number of a net's outputs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

MAX_LISTED = 1000  # numbers of one output that are listed: a score map has millions


@dataclass(frozen=True)
class Output:
    """An output blob of a net: its values (host array) and its weight in the loss (0: none)."""

    name: str
    values: np.ndarray
    loss_weight: float = 0.0


def output_lines(kind: str, outputs: Iterable[Output]) -> list[str]:
    """ "    Train net output #0: loss = 0.5 (* 1 = 0.5 loss)": a line per number, counted through all outputs."""
    lines: list[str] = []
    for output in outputs:
        if np.size(output.values) > MAX_LISTED:
            lines.append(f"    {kind} net output #{len(lines)}: {output.name} holds {np.size(output.values)} numbers")
            continue
        for value in np.ravel(output.values).tolist():
            weight = output.loss_weight
            weighted = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
            lines.append(f"    {kind} net output #{len(lines)}: {output.name} = {value:g}{weighted}")
    return lines


def glog_prefix(level: str, file: str, line: int) -> str:
    """ "I0704 12:00:00.123456 12345 solver.py:120] ", for this moment and thread."""
    now = time.time()
    clock = time.strftime("%m%d %H:%M:%S", time.localtime(now))
    return f"{level}{clock}.{int(now % 1 * 1e6):06d} {threading.get_native_id():5d} {file}:{line}] "
