"""What a run tells: Caffe's log lines in a pipe, a progress bar on a terminal, and a JSON line per event in a file.

In a pipe every line has glog's prefix and Caffe's words, so that parsers written for Caffe (parse_log.py,
plot_training_log.py, DIGITS) read it:

    I0704 12:00:00.123456 12345 solver.py:120] Iteration 20 (1.25 iter/s, 16s/20 iters), loss = 12345.6

Numbers have six digits, as C++ prints them.  Lines go to stderr, as Caffe's do.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from demitasse.proto.errors import NetError, SolverFault, printable
from demitasse.solver.identity import Run, log_is_ours, log_taken
from demitasse.solver.log_lines import MAX_LISTED, Output, glog_prefix, output_lines
from demitasse.solver.score import Scores, as_json, class_line

_NOT_THE_CALLER = (__name__, "warnings", "_py_warnings")  # of a line: modules that only pass it on


class Silent:
    """Tells nothing; the base of logs, and the log of every rank but the first."""

    pictures_wanted = 0  # of a test of a net that segments
    records = False  # whether points are kept: then there is one for every iteration without display

    def begin(self, run: Run, ours: set[str | None], overwrite: bool, iteration: int) -> None:
        """Events of `run` follow, from `iteration` on.  SolverFault where the JSON file holds those of a run that is
        not among `ours` and may not be overwritten."""

    def info(self, text: str) -> None:
        """A line that is always shown."""

    def detail(self, text: str) -> None:
        """A line of Caffe's that a progress bar makes superfluous on a terminal."""

    def warn(self, text: str) -> None:
        """Something that runs, but hardly as it was meant."""

    def progress(self, iteration: int, end: int, loss: float, rate: float) -> None:
        """An iteration is done: `iteration` of them, of `end` in all.  loss: smoothed; rate: the learning rate."""

    def point(self, iteration: int, loss: float, rate: float, outputs: Sequence[Output], per_label: dict) -> None:
        """For the JSON file and the plot: smoothed loss, rate, outputs, losses per label after `iteration` updates."""

    def test(self, iteration: int, index: int, outputs: Sequence[Output], loss: float | None) -> None:
        """The means of test net `index` after `iteration` updates."""

    def scores(self, iteration: int, index: int, head: str, result: Scores, names: Sequence[str]) -> None:
        """How well test net `index` segments after `iteration` updates, by blob `head`; names of the classes."""

    def pictures(self, iteration: int, index: int, head: str, rows: Iterable[np.ndarray]) -> None:
        """What test net `index` has predicted after `iteration` updates, for listeners: (H, W, 3) uint8 each."""

    def event(self, kind: str, **values) -> None:
        """Something for the JSON file alone."""

    def path_in_events(self, path: str) -> str:
        """A path as an event names it."""
        return path

    def close(self) -> None:
        """The run is over."""

    @contextlib.contextmanager
    def python_warnings(self) -> Iterator[None]:
        """Inside, Python's warnings (of a net that is built, of its data) are lines of this log."""
        before = warnings.showwarning
        warnings.showwarning = lambda message, *location, **more: self.warn(" ".join(str(message).split()))
        try:
            yield
        finally:
            warnings.showwarning = before


class Log(Silent):
    """The log of a run.

    stream: where lines go; None: stderr.  terminal: show a bar; None: where the stream is a terminal.
    jsonl: a file that gets one JSON object per event, of one run (when it is resumed, its file goes on).
    listeners: functions that are given the same events, as dicts; `close` of one that has it is called at the end.
    One that raises a NetError hears no more.
    """

    def __init__(
        self,
        stream=None,
        *,
        terminal: bool | None = None,
        jsonl: str | os.PathLike | None = None,
        listeners=(),
    ):
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty() if terminal is None else terminal
        self.bar: Any = None  # tqdm's
        self.started = time.monotonic()
        self.json_path = jsonl
        self.json_file = _open_to_append(jsonl) if jsonl else None
        self.listeners = list(listeners)
        self.records = bool(jsonl or self.listeners)
        self.pictures_wanted = max((getattr(one, "pictures_wanted", 0) for one in self.listeners), default=0)

    def begin(self, run: Run, ours: set[str | None], overwrite: bool, iteration: int) -> None:
        if self.json_file is not None and self.json_path is not None:
            try:
                if not log_is_ours(self.json_path, ours):
                    if not overwrite:
                        raise log_taken(self.json_path)
                    self.json_file.truncate(0)
            except OSError as error:
                raise SolverFault(f"cannot read the log {self.json_path}: {error.strerror}") from None
        self.detail(f"This is {run}")
        record = self._record("run", {"run": run.as_json(), "iteration": iteration})
        try:
            self._write(record)
        except OSError as error:
            self._end_json()
            raise SolverFault(f"cannot write the log {self.json_path}: {error.strerror}: give another --log") from None

    # -- lines ---------------------------------------------------------------------------------------

    def info(self, text: str) -> None:
        self._line("I", text)

    def detail(self, text: str) -> None:
        if not self.terminal:
            self._line("I", text)

    def warn(self, text: str) -> None:
        self._line("W", f"warning: {text}" if self.terminal else text)

    def _line(self, level: str, text: str) -> None:
        text = printable(text)
        if not self.terminal:
            caller = sys._getframe(1)
            while caller.f_globals.get("__name__") in _NOT_THE_CALLER and caller.f_back:
                caller = caller.f_back
            text = glog_prefix(level, os.path.basename(caller.f_code.co_filename), caller.f_lineno) + text
        try:
            if self.bar is not None:
                self.bar.clear()
            print(text, file=self.stream, flush=True)
        except OSError:  # a full disk, a pipe whose reader has gone: the run is worth more than its lines
            self._end_lines()

    # -- events --------------------------------------------------------------------------------------

    def progress(self, iteration: int, end: int, loss: float, rate: float) -> None:
        if not self.terminal:
            return
        try:
            if self.bar is None or self.bar.total != end:
                self._close_bar()
                self.bar = _make_bar(iteration - 1, end, self.stream)
            self.bar.set_postfix_str(f"loss {loss:.6g}, lr {rate:g}", refresh=False)
            self.bar.update(iteration - self.bar.n)
        except OSError:  # the terminal was closed
            self._end_lines()

    def point(self, iteration: int, loss: float, rate: float, outputs: Sequence[Output], per_label: dict) -> None:
        extra = {"per_label": per_label} if per_label else {}
        self.event("train", iteration=iteration, loss=loss, lr=float(f"{rate:.7g}"), outputs=_plain(outputs), **extra)

    def test(self, iteration: int, index: int, outputs: Sequence[Output], loss: float | None) -> None:
        if loss is not None:
            self.info(f"Test loss: {loss:g}")
        for line in output_lines("Test", outputs):
            self.info(line)
        values = {} if loss is None else {"loss": loss}
        self.event("test", iteration=iteration, net=index, outputs=_plain(outputs), **values)

    def scores(self, iteration: int, index: int, head: str, result: Scores, names: Sequence[str]) -> None:
        self.info(f"    Test net scores ({head}): {result}")
        self.info(f"    Test net IU by class ({head}): {class_line(result, names)}")
        self.event("scores", iteration=iteration, net=index, head=head, **as_json(result, names))

    def event(self, kind: str, **values) -> None:
        record = self._record(kind, values)
        try:
            self._write(record)
        except OSError as error:  # a full disk: the run is worth more than its log
            self._end_json()
            self.warn(f"the JSON log ends here: {error.strerror}")

    def _record(self, kind: str, values: dict) -> dict:
        """What an event is to the JSON file and to the listeners, which have heard it then."""
        record = _finite({"event": kind, "seconds": round(time.monotonic() - self.started, 3), **values})
        for listener in list(self.listeners):
            self._tell(listener, listener, record)
        return record

    def _write(self, record: dict) -> None:
        if self.json_file is not None:
            self.json_file.write(json.dumps(record, allow_nan=False) + "\n")
            self.json_file.flush()

    def pictures(self, iteration: int, index: int, head: str, rows: Iterable[np.ndarray]) -> None:
        for listener in [one for one in self.listeners if hasattr(one, "pictures")]:
            self._tell(listener, listener.pictures, iteration, index, head, rows)

    def path_in_events(self, path: str) -> str:
        """A path as an event names it: from the JSON file's folder, so that both can be moved, unless it was given from
        the root."""
        if self.json_path is None or os.path.isabs(path):
            return path
        return os.path.relpath(path, os.path.dirname(os.fspath(self.json_path)) or ".")

    def _tell(self, listener, function, *words) -> None:
        """Call a listener's function; the run is worth more than what is made of it."""
        try:
            function(*words)
        except NetError as error:
            self.listeners = [one for one in self.listeners if one is not listener]
            self.warn(f"no more {getattr(listener, 'name', 'events for a listener')}: {error}")

    def _end_lines(self) -> None:
        self.bar, self.terminal = None, False
        self.stream = _Nowhere()

    def _end_json(self) -> None:
        file, self.json_file = self.json_file, None
        with contextlib.suppress(OSError):  # what is in its buffer has nowhere to go
            if file is not None:
                file.close()

    def close(self) -> None:
        self._close_bar()
        for listener in list(self.listeners):
            self._tell(listener, getattr(listener, "close", lambda: None))
        if self.json_file is not None:
            self._end_json()

    def _close_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Warnings(Log):
    """Tells warnings alone."""

    def info(self, text: str) -> None:
        """Nothing."""

    detail = info


class _Nowhere(io.TextIOBase):
    """Takes what nobody can read any more."""

    def write(self, text: str) -> int:
        return len(text)


def _make_bar(start: int, end: int, stream):
    from tqdm import tqdm

    try:
        sized = os.get_terminal_size(stream.fileno()).lines > 0
    except (OSError, ValueError):
        sized = False
    # A terminal that does not tell its size (in a container) would get no bar at all.
    shape = {"dynamic_ncols": True} if sized else {"ncols": 100, "nrows": 20}
    return tqdm(initial=start, total=end, file=stream, unit="it", **shape)


def _open_to_append(path):
    try:
        os.makedirs(os.path.dirname(os.fspath(path)) or ".", exist_ok=True)
        return open(path, "a", encoding="utf-8")
    except OSError as error:
        raise SolverFault(f"cannot write the log {path}: {error.strerror}: give another --log") from None


def _plain(outputs) -> dict:
    return {output.name: output.values.tolist() for output in outputs if np.size(output.values) <= MAX_LISTED}


def _finite(value):
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
