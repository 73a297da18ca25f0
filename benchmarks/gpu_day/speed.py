"""Steps 4, 5 and 9: FCN-8s beside torch in turns, kernel time by layer, launch gaps, memory; a stream of new sizes;
beside torch.compile."""

from __future__ import annotations

import contextlib
import time

import numpy as np

from benchmarks import gpu
from benchmarks.gpu_day.checks import PRECISIONS
from benchmarks.gpu_day.report import Record, closing
from benchmarks.nets import net_message
from benchmarks.peers import random_inputs
from demitasse.netdef.recorded_sizes import ORDINARY_PASSES

MODES = "forward", "training"
CLASSES = 21
STALL = 8192  # rows of the products that keep the device busy while a whole pass is launched
STALLS = {False: 6, True: 14}  # forward, training
SLOWEST = 24  # layers that are told
NEW_SIZES = [(250 + 17 * i % 240, 500 - 23 * i % 210) for i in range(24)]


class Job:
    """One precision and mode on both sides; torch is left out, with its reason, where it is missing."""

    def __init__(self, precision: str, train: bool, rehearse: bool, kinds=("eager", "channels_last")):
        self.rehearse, self.size = rehearse, (20, 21) if rehearse else (500, 500)
        if rehearse:
            from benchmarks.gpu_day.rehearsal import speed_message

            message = speed_message()
        else:
            message = net_message("voc-fcn8s", train)
        self.ours = gpu.Ours(message, precision, train)
        passes = range(ORDINARY_PASSES + 2)  # after the ordinary ones one that is recorded, one launched as a whole
        self.first = [1e3 * gpu.seconds(self.ours, [self.inputs(self.size)]) for _ in passes]
        self.memory = self.ours.memory()
        self.unrecorded = gpu.Ours(message, precision, train, record=False)
        self.contenders, self.left_out = [self.ours, self.unrecorded], {}
        self.arguments = precision, train
        for kind in kinds:
            self.add(kind)

    def add(self, kind: str) -> None:
        """Let torch of that kind take part."""
        try:
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
            if device == "cpu" and not self.rehearse:
                raise RuntimeError("torch sees no GPU")
            contender = gpu.Torch(self.ours, *self.arguments, kind, device)
            gpu.seconds(contender, [self.inputs(self.size)])  # what torch cannot do shows here
            self.contenders.append(contender)
        except Exception as error:  # noqa: BLE001 (a peer that cannot, not a fault of ours)
            self.left_out[f"torch {kind} left out"] = " ".join(str(error).split())[:200]

    def inputs(self, size) -> dict:
        shapes = {name: (*self.ours.net.shapes[name][:2], *size) for name in self.ours.net.inputs}
        return random_inputs(shapes, CLASSES)

    def close(self) -> None:
        for contender in self.contenders:
            contender.close()


def speed(record: Record, rehearse: bool) -> None:
    """Forward and training in each precision."""

    def measure(item: str) -> dict:
        mode, precision = item.split()
        with closing(Job(precision, mode == "training", rehearse)) as job:
            return _beside_torch(job) | _by_layer(job)

    items = [f"{mode} {precision}" for precision in ("tf32", "fp16", "fp32") for mode in MODES]
    record.attempt([items[0], items[3]] if rehearse else items, measure)


def compiled(record: Record, rehearse: bool) -> None:
    """Beside torch.compile, which takes its time first."""

    def measure(item: str) -> dict:
        mode, precision = item.split()
        with closing(Job(precision, mode == "training", rehearse, () if rehearse else ("compile",))) as job:
            return _beside_torch(job)

    items = [f"{mode} {precision}" for precision in ("tf32", "fp16") for mode in MODES]
    record.attempt(items[: 1 if rehearse else None], measure)


def _beside_torch(job: Job) -> dict:
    """Milliseconds of each, in turns; how far the scores are apart; memory."""
    batches = [job.inputs(job.size)] * (1 if job.rehearse else 10)
    rounds = 1 if job.rehearse else 3 if job.arguments[0] == "fp32" else 5
    times = gpu.in_turns(job.contenders, batches, rounds, warm_up=1)
    found = {f"{name}, ms": 1e3 * value for name, value in times.items()} | job.left_out
    for name, value in times.items():
        if name != "ours":
            found[f"ours / {name}"] = times["ours"] / value
    found["ours, recorded"] = str(job.ours.net.recordings)
    others = job.contenders[2:]
    if job.ours.updater is None:
        ours = job.ours.output()
        found["recorded and not: scores are the same bits"] = bool((ours == job.unrecorded.output()).all())
    if others and job.ours.updater is None:
        reference = others[0].output()
        apart = np.abs(job.ours.output() - reference).max() / max(np.abs(reference).max(), 1e-30)
        found["scores apart from torch's, share of the largest"] = float(apart)
    found |= {"memory, GB": job.memory, "first passes of ours, ms": job.first}
    if others and others[0].device == "cuda":
        found["memory of torch's kinds together, GB"] = others[-1].memory()
    arithmetic, memory = gpu.floors(job.ours.net, *job.arguments)
    return found | {"an H200's least, ms": [1e3 * arithmetic, 1e3 * memory]}


def _by_layer(job: Job) -> dict:
    """What `_ours_alone` finds; a fault of it costs nobody the comparison."""
    try:
        return _ours_alone(job)
    except Exception as error:  # noqa: BLE001 (told in the place of the figures)
        return {"by layer, fault": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def _ours_alone(job: Job) -> dict:
    """Kernel time by an event per layer, with the device kept busy until all is launched; and what launching costs."""
    ours, arrays = job.ours, job.inputs(job.size)
    launching = _launch_seconds(ours, arrays)
    clock = EventClock(ours)
    for _ in range(2):  # the first pass with hooks may build what it needs
        clock.run(arrays, *((64, 1) if job.rehearse else (STALL, STALLS[job.arguments[1]])))
    layers = clock.milliseconds()
    ranked = sorted(layers.items(), key=lambda pair: -pair[1])[:SLOWEST]
    total = sum(layers.values())
    wall = 1e3 * gpu.seconds(ours, [arrays])
    return {
        "kernels of all layers, ms": total,
        "gaps (one pass less its kernels), ms": wall - total,
        "launching takes the host, ms": 1e3 * launching,
        "launching what is not recorded takes the host, ms": 1e3 * _launch_seconds(job.unrecorded, arrays),
        "slowest layers, ms": dict(ranked),
        "device was kept busy until all was launched": clock.ahead,
        "engines": _engines(ours),
    }


def _engines(ours) -> dict:
    """{direction and shape of the weights: the engines that cuDNN has planned, by name}."""
    found: dict[str, list[str]] = {}
    for (spec, _), plan in ours.backend.cudnn.planner.plans.items() if ours.backend.cudnn else ():
        names = found.setdefault(f"{spec.direction} {'x'.join(map(str, spec.weights))}", [])
        name = "none" if plan is None else plan.name
        names += [name] * (name not in names)
    return {key: " ".join(names) for key, names in found.items()}


def _launch_seconds(ours, arrays) -> float:
    """The host's part of one pass (in training it waits for the loss within)."""
    ours.wait()
    start = time.perf_counter()
    ours.run(arrays)
    seconds = time.perf_counter() - start
    ours.wait()
    return seconds


class EventClock:
    """Events around every layer's forward and backward, on the stream that computes."""

    def __init__(self, ours):
        self.ours, self.cuda, self.pairs, self.ahead = ours, ours.backend.xp.cuda, [], False

    def run(self, arrays, rows: int, stalls: int) -> None:
        """One pass behind products of that size, so that the host is ahead of the device all the while."""
        ours, self.pairs = self.ours, []
        be, net = ours.backend, ours.net
        stall = be.zeros((rows, rows))
        frozen = be.frozen_weights() if ours.updater is not None else contextlib.nullcontext()
        with self._hooks(net), frozen:
            be.synchronize()
            for _ in range(stalls):
                be.matmul(stall, stall)
            busy = self.cuda.Event()
            busy.record()
            net.forward(arrays)
            if ours.updater is not None:
                self._time("(clearing gradients)", net.clear_grads)
                net.backward()
                self._time("(update)", lambda: ours.updater.apply(1e-12, ours.steps + 1))
            self.ahead = not busy.done
            be.synchronize()

    def _time(self, name: str, run) -> None:
        start = self._now()
        run()
        self.pairs.append([name, start, self._now()])

    @contextlib.contextmanager
    def _hooks(self, net):
        def begin(kind):
            return lambda index: self.pairs.append([f"{net.layer_names[index]}{kind}", self._now(), None])

        def end(index):
            self.pairs[-1][2] = self._now()

        lists = (net.before_forward, net.after_forward, net.before_backward, net.after_backward)
        hooks = (begin(""), end, begin(" back"), end)
        for where, hook in zip(lists, hooks, strict=True):
            where.append(hook)
        try:
            yield
        finally:
            for where, hook in zip(lists, hooks, strict=True):
                where.remove(hook)

    def _now(self):
        event = self.cuda.Event()
        event.record()
        return event

    def milliseconds(self) -> dict[str, float]:
        return {name: float(self.cuda.get_elapsed_time(start, end)) for name, start, end in self.pairs}


def sizes(record: Record, rehearse: bool) -> None:
    """The first image of every size of a stream, and the stream a second time, beside torch."""
    stream = [(20, 21), (22, 20)] if rehearse else NEW_SIZES

    def measure(precision: str) -> dict:
        with closing(Job(precision, False, rehearse)) as job:
            first = {contender.name: [] for contender in job.contenders}
            gpu.seconds(job.ours, [job.inputs(job.size)])
            for size in stream:
                arrays = job.inputs(size)
                for contender in job.contenders:
                    first[contender.name].append(1e3 * gpu.seconds(contender, [arrays]))
            again = gpu.in_turns(job.contenders, [job.inputs(size) for size in stream], 1, warm_up=0)
            found = dict(job.left_out)
            for name, times in first.items():
                found[f"{name}, first image, ms (median, largest)"] = [float(np.median(times)), max(times)]
                found[f"{name}, seen sizes, ms"] = 1e3 * again[name]
            return found

    record.attempt(PRECISIONS[-1:] if rehearse else PRECISIONS[::-1], measure)
