"""The training loop: Caffe's order of operations over a Net.

    iteration i:  test if due -> clear gradients -> iter_size times forward and backward -> display
                  -> update with the rate of i -> i + 1 -> snapshot if due

`iter` counts the updates done.  A run that is killed goes on from its last snapshot with the same bits.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import deque

import numpy as np

from demitasse.layers.backend import make_backend
from demitasse.proto.errors import NetError, SolverFault
from demitasse.proto.messages import SolverParameter
from demitasse.proto.text import read_solver
from demitasse.solver import debug, snapshots, watch
from demitasse.solver.distributed import Alone
from demitasse.solver.identity import new_run
from demitasse.solver.log import Log, Output, output_lines
from demitasse.solver.means import OutputMeans
from demitasse.solver.nets import build_test_nets, build_train_net
from demitasse.solver.paths import Finder
from demitasse.solver.policy import learning_rate
from demitasse.solver.settings import check_settings, placed
from demitasse.solver.signals import NONE, SNAPSHOT, STOP
from demitasse.solver.updates import Updater


class Solver:
    """A train net, its test nets, and the state of their training.

    source: a solver's path, its text with a newline in it, or a SolverParameter.
    device: "cpu", "gpu", "gpu:1"; None: as solver_mode says, where it says so, else the CPU.
    backend: use this one instead of making one from device, exact, threads and precision.
    weights: files (joined by commas) to start from; None: those of the solver's `weights` field.
    snapshot: a .solverstate (or .solverstate.h5) to go on from.
    level, stages: beside those of train_state.  seed, type: instead of random_seed and the file's `type`.
    auto_crop: as in netdef.net.Net.
    every_blob: keep all blobs and gradients of all nets, each layer run on its own (pycaffe reads and writes them).
    log: a Log; None: Caffe's lines on stderr.  requests: a function that gives NONE, SNAPSHOT or STOP.
    ranks: the processes that train together (solver.distributed).
    existing: what becomes of the files that another run has left at snapshot_prefix or in the log: "refuse" to train,
    "replace" them, or "warn" and, as Caffe does, write over those of the same names.

    run: this run's identity; restore takes over that of the run it resumes.

    Faults of settings, files and nets are NetErrors that name their place.
    """

    def __init__(
        self,
        source: str | os.PathLike | SolverParameter,
        *,
        device: str | None = None,
        backend=None,
        exact: bool = False,
        threads: int | None = None,
        precision: str = "tf32",
        weights: str | None = None,
        snapshot: str | None = None,
        level: int = 0,
        stages=(),
        seed: int | None = None,
        type: str | None = None,
        auto_crop: bool = False,
        every_blob: bool = False,
        log=None,
        requests=None,
        ranks=None,
        existing: str = "refuse",
    ):
        self.log = log or Log()
        self.requests = requests or (lambda: NONE)
        self.ranks = ranks or Alone()
        self.param, self.where = read_solver(source)
        self.param.type = type or self.param.type
        check_settings(self.param, self.where)
        self.find = Finder(self.where.file, self.log.info)
        self.backend = backend or self._make_backend(device, exact=exact, threads=threads, precision=precision)
        self.backend.seed(self.ranks.common_seed(self._seed(seed)))
        whole = every_blob or self.param.debug_info
        options = {"keep": "all" if whole else "needed", "fuse": not whole, "auto_crop": auto_crop}
        with placed(self.where):
            self.net = build_train_net(self.param, self.find, self.backend, level=level, stages=stages, **options)
            self.test_nets = build_test_nets(self.param, self.find, self.backend, **options)
        for net in self.test_nets:
            net.share_with(self.net)
        self.ranks.join(self.net, self.backend, self.log.warn)
        self.iter = 0
        self.losses: deque[float] = deque(maxlen=self.param.average_loss)
        self.updater = Updater(self.param, self.net.learnable, self.backend)
        self.callbacks: list = []  # (on_start, on_gradients_ready) pairs, as in pycaffe
        self.stopped = False  # a request has ended the run
        self.updates, self.loaded_from = 0, ""  # updates since the weights were loaded, and the file that they are of
        self.states_before: list[dict] = []  # of the net before each pass of the last iteration
        self.run, self.existing = new_run(), existing
        self.ours: set[str | None] = {self.run.id}  # the runs whose files are this one's; None: those of unknown ones
        self.replaces: dict = {}  # others' files, to be removed when there is a snapshot
        self._pending, self._begun, self._claimed = NONE, False, False
        self._written_at = -1  # the iteration of the newest snapshot
        self._goal = 0  # where `solve` will end
        if snapshot:
            self.restore(snapshot)
        elif weights:
            self.load(weights)
        else:
            with placed(self.where):
                self.load(",".join(self.param.weights))
        self.ranks.broadcast([p.data for p in self.net.learnable])

    # -- setting up ----------------------------------------------------------------------------------

    def _make_backend(self, device: str | None, **options):
        asked = device
        if device is None:
            param = self.param
            gpu = param.HasField("solver_mode") and param.solver_mode == SolverParameter.GPU
            number = f":{param.device_id}" if param.HasField("device_id") else ""
            device = f"gpu{number}" if gpu else "cpu"
        try:
            return make_backend(self.ranks.device(device), **options)
        except SolverFault as fault:
            if asked is not None:
                raise
            self.log.warn(f"solver_mode is GPU, but {fault}; training on the CPU")
            return make_backend("cpu", **options)

    def _seed(self, seed: int | None) -> int | None:
        asked = self.param.random_seed if seed is None else seed
        return asked if asked >= 0 else None

    def load(self, weights: str) -> None:
        """Start from the weights of files joined by commas, and say what matched."""
        for path in filter(None, (path.strip() for path in weights.split(","))):
            path = self.find(path, "weights")
            self.log.info(f"Finetuning from {path}")
            self._say_loaded(self.net.load(path))
            self.updates, self.loaded_from = 0, path

    def _say_loaded(self, report) -> None:
        (self.log.warn if report.missing else self.log.info)(str(report))

    def _begin(self, writes: bool) -> None:
        """Before the first iteration: what would go wrong is better said now."""
        if self._begun:
            return
        if writes:
            snapshots.require_room(self)
            self._claim()
        self.log.begin(self.run, self.ours, self.existing == "replace", self.iter)
        self._begun = True
        for line in watch.normalisation_lines(self.net, self.param):
            self.log.info(line)
        for line in watch.startup_warnings(self.net, self.param):
            self.log.warn(line)
        self.net.before_forward.append(watch.EqualScores(self))
        self._shown_at, self._shown_iter = time.monotonic(), self.iter

    def _claim(self) -> None:
        if not self._claimed:
            snapshots.claim(self)
            self._claimed = True

    # -- the loop ------------------------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return learning_rate(self.param, self.iter)

    def solve(self, iterations: int | None = None) -> None:
        """Train to max_iter, or for that many iterations if they are fewer; then snapshot and test as Caffe does."""
        param = self.param
        left = param.max_iter - self.iter
        if not param.max_iter and iterations is None:
            with placed(self.where):
                raise SolverFault(
                    f"max_iter is {'0' if param.HasField('max_iter') else 'not set'}: say how many "
                    "iterations to train (also: --iterations)"
                )
        if param.max_iter and left <= 0:
            self.log.info(f"Nothing to do: iteration {self.iter} of {param.max_iter} (max_iter) is done already")
            return
        n = left if iterations is None else min(iterations, left) if param.max_iter else iterations
        self.log.info(f"Solving {self.net.name}")
        self.log.info(f"Learning Rate Policy: {param.lr_policy}")
        self._begin(writes=param.snapshot_after_train or param.snapshot > 0)
        self._goal = self.iter + n
        self.step(n)
        self._goal = 0
        if (param.snapshot_after_train or self.stopped) and self.iter != self._written_at:
            self.snapshot()
        if self.stopped:
            self.log.info("Optimization stopped early.")
            return
        self._final_display()
        if param.test_interval and self.iter % param.test_interval == 0:
            self.test()
        self.log.info("Optimization Done.")

    def step(self, iterations: int) -> None:
        """Do that many updates, with the tests, displays and snapshots that fall due; max_iter is not looked at."""
        param, end = self.param, self.iter + iterations
        self.stopped = False
        self._begin(writes=param.snapshot > 0)
        while self.iter < end:
            if self._test_is_due():
                self.test()
                if self._poll() == STOP and self.ranks.size == 1:  # several ranks agree after an iteration
                    self._pending, self.stopped = NONE, True
                    return
            request = self._iterate()
            self.log.progress(self.iter, self._goal or max(end, param.max_iter), self._smoothed(), self._rate)
            if request == SNAPSHOT or (param.snapshot and self.iter % param.snapshot == 0):
                self._try_snapshot()
            if request == STOP:
                self.stopped = True
                return

    def _test_is_due(self) -> bool:
        interval = self.param.test_interval
        return bool(
            self.test_nets
            and interval
            and self.iter % interval == 0
            and (self.iter > 0 or self.param.test_initialization)
        )

    def _iterate(self) -> int:
        """One update; the request (NONE, SNAPSHOT or STOP) that has come in meanwhile."""
        for on_start, _ in self.callbacks:
            on_start()
        shown = self.param.display > 0 and self.iter % self.param.display == 0
        with self._debug_lines(self.net, shown), self.backend.frozen_weights():
            loss = self._gradients()
        loss, request = self.ranks.agree(loss, self._poll())
        self._pending = NONE
        self.losses.append(loss)
        if shown or (self.log.records and not self.param.display):
            self._show(shown)
        self.ranks.finish()
        for _, on_gradients_ready in self.callbacks:
            on_gradients_ready()
        self._rate = self.lr
        self.apply_update()
        self.iter += 1
        return request

    def _debug_lines(self, net, shown: bool = True):
        return debug.lines(net, self.log) if shown and self.param.debug_info else contextlib.nullcontext()

    def _smoothed(self) -> float:
        return sum(self.losses) / len(self.losses)

    def _gradients(self) -> float:
        """Sum the gradients of iter_size passes, each over a batch of its own sizes; the mean of their losses."""
        self.net.clear_grads()
        total, passes, states = 0.0, self.param.iter_size, []
        for number in range(passes):
            state = self.net.state()
            states.append(state)
            self.net.forward()
            loss_later = self.net.loss_later()
            if number == passes - 1:
                self.ranks.start()
            self.net.backward()
            loss = loss_later()
            if not math.isfinite(loss):
                raise watch.loss_fault(self, loss, state)
            total += loss
        self.states_before = states
        return total / passes

    def apply_update(self) -> None:
        """Move the weights by the gradients that are in the net (the sum of iter_size passes of every rank)."""
        scale, norm = self.updater.clip_scale()
        if scale != 1:
            self.log.detail(
                f"Gradient clipping: scaling down gradients (L2 norm {norm:g} > "
                f"{self.param.clip_gradients:g}) by scale factor {scale:g}"
            )
        self.updates += 1
        self.updater.apply(self.lr, self.iter + 1, scale / (self.param.iter_size * self.ranks.size))

    def _poll(self) -> int:
        self._pending = max(self._pending, self.requests())
        return self._pending

    # -- display and tests ---------------------------------------------------------------------------

    def _show(self, lines: bool) -> None:
        """Tell the log of this iteration; with `lines` in words too."""
        outputs = [_output(self.net, name, self.backend.to_host(self.net.blobs[name])) for name in self.net.outputs]
        per_label = watch.per_label_losses(self.net, outputs)
        self.log.point(self.iter, self._smoothed(), self.lr, outputs, per_label)
        if not lines:
            return
        now, done = time.monotonic(), self.iter - self._shown_iter
        seconds = now - self._shown_at
        speed = f"({done / (seconds or 1):g} iter/s, {seconds:g}s/{self.param.display} iters)"
        self.log.detail(f"Iteration {self.iter} {speed}, loss = {self._smoothed():g}")
        for line in output_lines("Train", outputs):
            self.log.detail(line)
        for name, value in per_label.items():
            self.log.detail(f"    {name} per label = {value:g}")
        self.log.detail(f"Iteration {self.iter}, lr = {self.lr:g}")
        self._shown_at, self._shown_iter = now, self.iter

    def test(self) -> list[dict]:
        """Run every test net over its test_iter batches; {output: mean array} of each ({} where test_iter is 0).

        Only the first rank tests.
        """
        if self.ranks.rank != 0:
            return [{} for _ in self.test_nets]
        return [self._test_net(index) for index in range(len(self.test_nets))]

    def _test_net(self, index: int) -> dict:
        net, batches = self.test_nets[index], self.param.test_iter[index]
        if not batches:
            return {}
        net.share_with(self.net)
        self.log.info(f"Iteration {self.iter}, Testing net (#{index})")
        outputs, loss = OutputMeans(), 0.0
        with self._debug_lines(net), self.backend.frozen_weights():
            for _ in range(batches):
                outputs.add({name: self.backend.to_host(array) for name, array in net.forward().items()})
                loss += net.loss
                if self._poll() == STOP:
                    self.log.info("Test interrupted.")
                    return {}
        for line in outputs.notes():
            self.log.warn(line)
        means = outputs.means()
        self.log.test(
            self.iter,
            index,
            [_output(net, name, mean) for name, mean in means.items()],
            loss / batches if self.param.test_compute_loss else None,
        )
        return means

    def _final_display(self) -> None:
        """The loss after the last update, as Caffe shows it."""
        if self.param.display and self.iter % self.param.display == 0:
            self.net.forward()
            self.losses.append(self.net.loss)
            self.log.detail(f"Iteration {self.iter}, loss = {self._smoothed():g}")

    # -- snapshots -----------------------------------------------------------------------------------

    def snapshot(self) -> str:
        """Write weights, solver state and side file; the path of the state."""
        self._claim()
        path = snapshots.write(self)
        self._written_at = self.iter
        return path

    def _try_snapshot(self) -> None:
        """A snapshot on the way: if the disk is full, the run goes on and the older snapshots stay."""
        try:
            self.snapshot()
        except (NetError, OSError) as error:
            self.log.warn(f"no snapshot at iteration {self.iter}: {error}; the one before is untouched")

    def restore(self, path: str | os.PathLike) -> None:
        """Go on from a .solverstate or .solverstate.h5, of this project's or of Caffe's writing."""
        snapshots.read(self, os.fspath(path))
        self._written_at = self.iter
        self.updates, self.loaded_from = 0, os.fspath(path)

    def close(self) -> None:
        """Release the nets' files and threads, and end the log."""
        for net in (self.net, *self.test_nets):
            net.close()
        self.log.close()


def _output(net, name: str, values: np.ndarray) -> Output:
    return Output(name, values, net.plan.newest[name].loss_weight)
