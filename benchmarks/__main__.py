"""python -m benchmarks [--nets ...] [--modes forward train cold] [--frameworks ...] [--rounds 7] [--threads 2]

Runs the frameworks in turns and prints medians, ratios of ours to each, peak memory and, for ours, the time per layer;
writes the same to benchmarks/results/<date>-<machine>.md.  Nets are named as nets.py says: any deploy prototxt will do.
cold: how long ours takes from the start of the process to its first answer, without machine code kept on disk and with.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import gpu
from benchmarks.nets import FILES, NETS, SINGLES
from benchmarks.peers import FRAMEWORKS
from demitasse.layers.backend import make_backend
from demitasse.solver.timing import peak_gflops


class Worker:
    """A process that runs one framework; None for `seconds` if it cannot.

    It is stopped unless it runs: threads of ONNX Runtime spin on a core for 0.2 s and more after a pass, those of
    PyTorch for 10 ms, and whose turn is next would have that core less.
    """

    def __init__(self, framework, net, mode, threads, **more):
        self.framework, self.times, self.peak, self.layers, self.first = framework, [], 0.0, {}, None
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads), **more}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", framework, net, mode, str(threads)],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.alive = self._read() is not None
        self._send("SIGSTOP")

    def _send(self, name):
        if self.process.poll() is None and hasattr(signal, name):
            self.process.send_signal(getattr(signal, name))

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line[7:])
        lines = self.process.stderr.read().strip().splitlines()
        print(f"  {self.framework}: left out: {lines[-1] if lines else 'no answer'}", flush=True)
        return None

    def run(self, warm_up=False, each_layer=False):
        self._send("SIGCONT")
        self.process.stdin.write("layers\n" if each_layer else "run\n")
        self.process.stdin.flush()
        answer = self._read()
        self._send("SIGSTOP")
        self.alive = answer is not None
        if answer and warm_up:
            self.first = answer["seconds"] if self.first is None else self.first
        elif answer and not each_layer:
            self.times.append(answer["seconds"])
            self.peak = answer["peak_mb"]
        elif answer:
            for layer, seconds in answer["layers"].items():
                self.layers.setdefault(layer, []).append(seconds)

    def close(self):
        self._send("SIGCONT")
        self.process.stdin.close()
        self.process.wait()


def compare(net, mode, frameworks, rounds, threads):
    """Workers with their times, run in turns."""
    if mode == "train":
        frameworks = [f for f in frameworks if f == "ours" or f.startswith("torch")]
    workers = []
    for framework in frameworks:
        worker = Worker(framework, net, mode, threads)
        for _ in range(2):
            if worker.alive:
                worker.run(warm_up=True)
        if worker.alive:
            workers.append(worker)
    for _ in range(rounds):
        for worker in workers:
            time.sleep(0.05)
            worker.run()
    for worker in workers:
        for _ in range(3 if worker.framework == "ours" else 0):
            worker.run(each_layer=True)
        worker.close()
    return workers


def table(net, mode, workers):
    """Markdown lines: one row per framework, and our slowest layers."""
    median = {w.framework: statistics.median(w.times) for w in workers}
    least = {w.framework: min(w.times) for w in workers}
    lines = [
        f"### {Path(net).name}, {mode}",
        "",
        "| | median ms | least ms | ours / it, medians | ours / it, least | peak MB | first run s |",
        "|---|---|---|---|---|---|---|",
    ]
    for w in workers:
        ratios = [f"{times['ours'] / times[w.framework]:.2f}" if "ours" in times else "" for times in (median, least)]
        lines.append(
            f"| {w.framework} | {median[w.framework] * 1e3:.1f} | {least[w.framework] * 1e3:.1f} | {ratios[0]} | "
            f"{ratios[1]} | {w.peak:.0f} | {w.first:.2f} |"
        )
    ours = next((w for w in workers if w.framework == "ours"), None)
    if ours and ours.layers:
        layers = sorted(((statistics.median(t), n) for n, t in ours.layers.items()), reverse=True)[:16]
        lines += ["", "ours, ms per layer: " + ", ".join(f"{n} {t * 1e3:.1f}" for t, n in layers if t > 1e-4)]
    return [*lines, ""]


def cold_starts(net, rounds, threads):
    """Markdown lines: seconds from the start of a process to our first answer, with an empty cache and a filled one."""
    times = {"empty": [], "filled": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for which in times:
                start = time.perf_counter()
                worker = Worker("ours", net, "forward", threads, DEMITASSE_CACHE=cache)
                worker.run(warm_up=True)
                times[which].append(time.perf_counter() - start)
                worker.close()
    lines = [f"### {Path(net).name}, from nothing to the first answer", ""]
    for which, seconds in times.items():
        lines.append(f"Cache {which}: median {statistics.median(seconds):.2f} s, least {min(seconds):.2f} s.")
    return [*lines, ""]


def bandwidth_gbytes(seconds: float = 0.2) -> float:
    """Measured speed of copying memory on one thread, in 10^9 bytes read or written per second."""
    a = np.ones(1 << 25, np.float32)
    b = a.copy()
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        start = time.perf_counter()
        b[:] = a
        best = max(best, 2 * a.nbytes / (time.perf_counter() - start) / 1e9)
    return best


def machine() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=[*NETS, *FILES, "singles"], help='"singles", or see nets.py')
    parser.add_argument("--modes", nargs="+", default=["forward", "train"], choices=["forward", "train", "cold"])
    parser.add_argument("--frameworks", nargs="+", default=FRAMEWORKS, choices=FRAMEWORKS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"], help="gpu: FCN-8s beside torch (gpu.py)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", help="the report; default benchmarks/results/<date>-<machine>.md")
    args = parser.parse_args()
    if args.device == "gpu":
        sys.exit(gpu.main([n for n in args.nets if n.startswith("voc-fcn8s")], args.modes, args.rounds, args.out))
    peak = peak_gflops(make_backend("cpu", threads=args.threads))
    lines = [
        f"# {machine()}, {args.threads} threads, {datetime.date.today()}",
        "",
        f"Measured peak: {peak:.0f} GFLOP/s; memory copy on one thread "
        f"{bandwidth_gbytes():.0f} GB/s.  Medians of {args.rounds} runs in turns; "
        "one image, or as many as a name ends in; "
        "float32 but for openvino-bf16 (OpenVINO's default where the processor has bfloat16: three digits).",
        "",
    ]
    print("\n".join(lines))
    for net in [n for name in args.nets for n in (SINGLES if name == "singles" else [name])]:
        for mode in args.modes:
            if (mode == "train" and net not in NETS) or (mode == "cold" and net.startswith("conv")):
                continue
            part = (
                cold_starts(net, args.rounds, args.threads)
                if mode == "cold"
                else table(net, mode, compare(net, mode, args.frameworks, args.rounds, args.threads))
            )
            print("\n".join(part), flush=True)
            lines += part
    name = "".join(c if c.isalnum() else "-" for c in machine()).strip("-").lower()
    lines.insert(2, f"Load of the machine at the end: {os.getloadavg()[0]:.1f}." if hasattr(os, "getloadavg") else "")
    path = Path(args.out or Path(__file__).parent / "results" / f"{datetime.date.today()}-{name}.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    print(path)


if __name__ == "__main__":
    main()
