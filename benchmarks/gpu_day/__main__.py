"""Runs the steps, each in a process of its own, within their limits.  See the package's docstring."""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu_day import report


class Step(NamedTuple):
    where: str  # "module:function"; the function takes a Record and whether this is a rehearsal
    seconds: float  # killed after so many
    silence: float = 40.0  # seconds without a new item after which it counts as hanging


STEPS = {
    "environment": Step("benchmarks.gpu_day.checks:environment", 40, 20),
    "layers": Step("benchmarks.gpu_day.checks:layers", 90, 25),
    "nets": Step("benchmarks.gpu_day.checks:nets", 90),
    "speed": Step("benchmarks.gpu_day.speed:speed", 120, 60),
    "sizes": Step("benchmarks.gpu_day.speed:sizes", 60),
    "training": Step("benchmarks.gpu_day.training:training", 60),
    "engines": Step("benchmarks.gpu_day.engines:engines", 60),
    "tests": Step("benchmarks.gpu_day.checks:tests", 60, 60),
    "compile": Step("benchmarks.gpu_day.speed:compiled", 100, 90),
    "others": Step("benchmarks.gpu_day.others:others", 110, 60),
}
SOFT = 0.85  # of its limit: a step begins no new item afterwards
MIN_SECONDS = 4.0  # seconds left in which a crashed step is worth starting again
POLL = 0.05


def run_step(name: str, step: Step, folder: Path, rehearse: bool, limit: float) -> str:
    """Run one step to its end or limit, again after each item that took its process down; its status."""
    began, tail = time.monotonic(), folder / f".{name}.log"
    command = [sys.executable, "-m", "benchmarks.gpu_day", "--out", str(folder)] + ["--rehearse"] * rehearse
    found = report.load(folder)
    found["steps"][name] = {"limit": limit, "items": {}}
    report.save(folder, found)
    while True:
        left = limit - (time.monotonic() - began)
        soft = max(0.0, left - (1 - SOFT) * limit)
        with open(tail, "w") as out:
            process = subprocess.Popen(
                [*command, "--child", step.where, name, str(soft), str(step.silence)],
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        ended = _watch(process, folder, began + limit, step.silence)
        found = report.load(folder)
        record = found["steps"][name]
        item = record.pop("running", None)
        words = tail.read_text(errors="replace").splitlines()[-report.LINES :]
        if ended != "done" and item is not None:
            record["items"][item] = {"fault": f"the process {ended} in it", "traceback": words}
        elif ended not in ("done", "lost its device"):
            record["items"]["the step itself"] = {"fault": f"the process {ended}", "traceback": words}
        record["status"], record["seconds"] = ended, time.monotonic() - began
        report.save(folder, found)
        again = ended == "lost its device" or (item is not None and ended != "done")
        if not again or limit - record["seconds"] < MIN_SECONDS:
            tail.unlink()
            return ended


def _watch(process, folder: Path, end: float, silence: float) -> str:
    """How the process ended; killed, with all that it started, at `end` or after that long without news."""
    heard, stamp = time.monotonic(), 0
    try:
        while process.poll() is None:
            now = time.monotonic()
            if (news := (folder / "gpu_day.json").stat().st_mtime_ns) != stamp:
                heard, stamp = now, news
            if now > end:
                return "was cut off at its limit"
            if now - heard > silence:
                return "hung and was killed"
            time.sleep(POLL)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # a session of its own: only what it started
            process.wait()
    named = {0: "done", report.DEVICE_LOST: "lost its device"}
    return named.get(process.returncode, f"crashed with status {process.returncode}")


def run(names, folder: Path, minutes: float, rehearse: bool = False, steps=STEPS) -> int:
    """All steps in order, in that many minutes together; how many did not end by themselves."""
    end, bad = time.monotonic() + 60 * minutes, 0
    folder.mkdir(parents=True, exist_ok=True)
    found = report.load(folder)  # a second call with --only adds to the first
    found["date"] = datetime.datetime.now().isoformat(" ", "minutes") + (" (rehearsal)" if rehearse else "")
    report.save(folder, found)
    for name in names:
        left = end - time.monotonic()
        if left < MIN_SECONDS:
            found = report.load(folder)
            found["steps"].setdefault(name, {"status": "left out for want of time"})
            report.save(folder, found)
            continue
        status = run_step(name, steps[name], folder, rehearse, min(left, steps[name].seconds))
        print(f"{name}: {status}", flush=True)
        bad += status != "done"
    print(f"written to {folder / 'gpu_day.md'} and {folder / 'gpu_day.json'}")
    return bad


def child(where: str, name: str, soft: float, silence: float, folder: Path, rehearse: bool) -> None:
    """Be the process of a step."""
    if rehearse:
        from benchmarks.gpu_day import rehearsal

        rehearsal.pretend()
    module, _, function = where.partition(":")
    getattr(importlib.import_module(module), function)(
        report.Record(folder, name, soft, _device_lost, silence), rehearse
    )


def _device_lost() -> bool:
    """After an illegal address CUDA answers nothing more in this process."""
    from demitasse.layers.backend import make_backend
    from demitasse.proto.errors import NetError

    try:
        backend = make_backend("gpu")
        backend.to_host(backend.zeros((1,)))
    except NetError:
        return False  # there is none to lose
    except Exception:  # noqa: BLE001 (CuPy has many)
        return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_day", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--out", type=Path, help="a folder; default: a new one of the system's for temporary files")
    parser.add_argument("--minutes", type=float, default=9.0, help="all together (default 9)")
    parser.add_argument("--rehearse", action="store_true", help="small, on a pretend device")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        where, name, soft, silence = args.child
        child(where, name, float(soft), float(silence), args.out, args.rehearse)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the step's process is ended as well
    folder = args.out or Path(tempfile.mkdtemp(prefix="gpu_day-"))
    return 1 if run(args.only, folder, args.minutes, args.rehearse) else 0


if __name__ == "__main__":
    sys.exit(main())
