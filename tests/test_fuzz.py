"""A short run of tests/fuzz.py, and that it notices what a reader may do wrong."""

import os
import signal
import time
from pathlib import Path

import pytest

from demitasse.proto.errors import NetError
from tests import fuzz


def wrong(monkeypatch, tmp_path, read, **options):
    """What a run says of a reader."""
    monkeypatch.setattr(fuzz, "readers", lambda folder: {"mine": ([b"well made"], read)})
    given = fuzz.options_of(["--inputs", "8", "--seconds", "0.1", "--memory", "256", "--keep", str(tmp_path)])
    vars(given).update(options)
    said = []
    return fuzz.fuzz(given, said.append), "\n".join(said)


def test_damaged_files_are_dealt_with():
    said = []
    assert fuzz.fuzz(fuzz.options_of(["--inputs", "1500", "--seed", "7"]), said.append) == 0, "\n".join(said)
    assert "1,500 inputs to" in said[-1]


def test_an_input_is_always_the_same():
    seeds = {"a": [b"x" * 40, b"y" * 40], "b": [b"z"]}
    inputs = [fuzz.input_of(number, 3, ["a", "b"], seeds) for number in range(20)]
    assert inputs == [fuzz.input_of(number, 3, ["a", "b"], seeds) for number in range(20)]
    assert len(set(inputs)) > 15 and [name for name, _ in inputs[:2]] == ["a", "b"]


def refuse(path: Path):
    raise NetError("no")


def crash(path: Path):
    os.kill(os.getpid(), signal.SIGKILL)


def hold(path: Path):
    return bytearray(1 << 30)


def hang(path: Path):
    while True:
        time.sleep(0.01)


@pytest.mark.parametrize(
    "read, count, says",
    [
        (refuse, 0, "0 dealt with wrongly"),
        (lambda path: path.no_such, 8, "AttributeError"),
        (crash, 8, "the process ended with status -9"),
        (hold, 8, "MemoryError"),
        (hang, 8, "more than 0.01 s"),
    ],
)
def test_what_a_reader_does_wrong_is_noticed(monkeypatch, tmp_path, read, count, says):
    found, said = wrong(monkeypatch, tmp_path, read, seconds=0.01 if read is hang else 1)
    assert found == count and says in said
    assert len(list(tmp_path.iterdir())) == (1 if count else 0)
