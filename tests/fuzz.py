"""Damaged files of every kind, given to the readers: each answers, or refuses in one line of its own.

    python -m tests.fuzz --inputs 300000 --seed 1 [--readers caffemodel hdf5] [--keep FOLDER]

A well-made file of each kind is damaged by the rules of `damaged`, at random but repeatably: input n of a seed is
always the same.  A worker process takes them one after the other, with a limit on memory (--memory MB beyond what it
holds) and on time (--seconds); what it does wrong (another exception than a NetError, an empty message, a
signal, a hang) is listed with the number of the input, and kept as a file with --keep.  Exit status 1 if there is any.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from demitasse.proto.errors import NetError
from tests.fuzz_readers import readers

EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]
SIGNS = ["{", "}", '"', "'", "-", "[", "]", ",", ":", "\0", "\x1b[31m", "\\", "#", "\u202e", "()", "*"]
WORDS = [*SIGNS, "1e999", "nan", "inf", "0x", "-1", "9" * 30, "1" * 5000, "layer", "layers", "type"]


def damaged(seed: bytes, rng: random.Random) -> bytes:
    """The file with one to four mistakes in it."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(9)
        if kind == 0:  # bits
            for _ in range(rng.choice((1, 1, 8))):
                if data:
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 1:  # the end is missing
            del data[at:]
        elif kind == 2:  # a piece is missing
            del data[at : at + rng.choice((1, 2, 4, 8, 64))]
        elif kind == 3:  # a piece is there twice
            data[at:at] = data[at : at + rng.choice((1, 4, 16, 256))] * rng.choice((1, 1, 3))
        elif kind == 4:  # a number at one of its ends, of one to eight bytes
            size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
            data[at : at + size] = (rng.choice(EDGES) & (1 << 8 * size) - 1).to_bytes(size, order)
        elif kind == 5:  # noise
            data[at : at + rng.choice((1, 3, 20))] = rng.randbytes(rng.choice((1, 3, 20)))
        elif kind == 6:  # words and signs
            data[at:at] = rng.choice(WORDS).encode()
        elif kind == 7:  # pieces change places
            other = rng.randrange(len(data) + 1)
            size = rng.choice((1, 4, 32))
            data[at : at + size], data[other : other + size] = data[other : other + size], data[at : at + size]
        else:  # a float of a kind that arithmetic does not like
            data[at : at + 4] = struct.pack("<f", rng.choice((float("nan"), float("inf"), -1e38, 1e-45)))
    return bytes(data)


def input_of(number: int, seed: int, names: list[str], seeds: dict[str, list[bytes]]) -> tuple[str, bytes]:
    """(reader, bytes) of an input."""
    rng = random.Random(f"{seed}/{number}")
    name = names[number % len(names)]
    return name, damaged(rng.choice(seeds[name]), rng)


def complaint(read: Callable, path: Path, data: bytes, seconds: float) -> str:
    """What a reader does wrong with these bytes; empty where it answers or refuses."""
    path.write_bytes(data)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        read(path)
    except NetError as fault:
        return "" if str(fault).strip() else f"{type(fault).__name__} without a message"
    except TimeoutError:
        return f"more than {seconds} s\n{traceback.format_exc()}"
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""


def _out_of_time(*_):
    raise TimeoutError


class _Run:
    """Inputs first to last, by worker processes that may die of them."""

    def __init__(self, options, report: Callable[[int, str, bytes, str], None]):
        self.options, self.report = options, report
        self.folder = tempfile.TemporaryDirectory()
        self.made = readers(Path(self.folder.name))
        self.names = options.readers or list(self.made)
        self.seeds = {name: seeds for name, (seeds, _) in self.made.items()}
        self.now = mmap.mmap(-1, 8)  # the number of the input in work, for the parent to see

    def input(self, number: int) -> tuple[str, bytes]:
        return input_of(number, self.options.seed, self.names, self.seeds)

    def all(self) -> None:
        first, last = self.options.first, self.options.first + self.options.inputs
        while first < last:
            first = self._by_a_worker(first, last)

    def _by_a_worker(self, first: int, last: int) -> int:
        """The number of the first input that is left."""
        told, tell = os.pipe()
        self.now[:] = first.to_bytes(8, "little")
        worker = os.fork()
        if not worker:
            os.close(told)
            os._exit(self._work(first, last, tell))
        os.close(tell)
        os.set_blocking(told, False)
        with open(told, "rb", buffering=0) as pipe:
            status = self._watch(worker, pipe)
        if not status:
            return last
        number = int.from_bytes(self.now[:], "little")
        self.report(number, *self.input(number), f"the process ended with status {os.waitstatus_to_exitcode(status)}")
        return number + 1

    def _watch(self, worker: int, pipe) -> int:
        """The worker's exit status; what it tells is reported, and it is ended where one input takes ten times its
        time (a loop in C)."""
        number, since, text = -1, time.monotonic(), b""
        while True:
            done, status = os.waitpid(worker, os.WNOHANG)
            text += pipe.read() or b""
            *told, text = text.split(b"\0")
            for line in told:
                of, _, what = line.decode().partition(" ")
                self.report(int(of), *self.input(int(of)), what)
            if done:
                return status
            if (current := self.now[:]) != number:
                number, since = current, time.monotonic()
            elif time.monotonic() - since > 10 * self.options.seconds:
                os.kill(worker, signal.SIGKILL)
            time.sleep(0.02)

    def _work(self, first: int, last: int, tell: int) -> int:
        signal.signal(signal.SIGALRM, _out_of_time)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
        resource.setrlimit(resource.RLIMIT_AS, (held + (self.options.memory << 20),) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        warnings.simplefilter("ignore")
        sys.stderr = open(os.devnull, "w")
        path = Path(self.folder.name) / "input"
        for number in range(first, last):
            self.now[:] = number.to_bytes(8, "little")
            name, data = self.input(number)
            what = complaint(self.made[name][1], path, data, self.options.seconds)
            if what:
                os.write(tell, f"{number} {what}\0".encode("utf-8", "backslashreplace"))
        return 0


def fuzz(options, say=print) -> int:
    """How many inputs were not dealt with."""
    found: dict[tuple, int] = {}

    def report(number, name, data, what):
        place = what.strip().splitlines()
        key = name, place[-1][:60], next((line for line in reversed(place) if line.startswith("  File")), "")
        found[key] = found.get(key, 0) + 1
        if found[key] == 1:
            say(f"input {number} ({name}, {len(data)} bytes): {what}")
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{name}-{options.seed}-{number}").write_bytes(data)

    run = _Run(options, report)
    began = time.monotonic()
    with run.folder:
        run.all()
    wrong = sum(found.values())
    say(
        f"{options.inputs:,} inputs to {len(run.names)} readers in {time.monotonic() - began:.0f} s: "
        f"{wrong} dealt with wrongly, in {len(found)} ways"
    )
    return wrong


def options_of(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Give damaged files to all readers")
    parser.add_argument("--inputs", type=int, default=10000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3, help="limit for one input")
    parser.add_argument("--memory", type=int, default=512, metavar="MB", help="limit beyond what the program takes")
    parser.add_argument("--readers", nargs="*", help="these only")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where inputs go that are dealt with wrongly")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(1 if fuzz(options_of()) else 0)
