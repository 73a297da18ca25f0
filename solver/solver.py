"""The training loop: Caffe's order of operations over a Net.

    iteration i:  test if due -> clear gradients -> iter_size times forward and backward -> display
                  -> update with the rate of i -> i + 1 -> snapshot if due

`iter` counts the updates done.  A run that is killed resumes from its last snapshot with the same bits.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque

from demitasse.layers.backend.options import BackendOptions
from demitasse.proto.errors import NetError
from demitasse.proto.messages import SolverParameter
from demitasse.proto.text import read_solver
from demitasse.solver import diagnostics, snapshots
from demitasse.solver.build_nets import build_test_nets, build_train_net, training_backend
from demitasse.solver.display import Display
from demitasse.solver.distributed import Alone
from demitasse.solver.fingerprint import fingerprints
from demitasse.solver.identity import new_run
from demitasse.solver.log import Log
from demitasse.solver.nonfinite import loss_fault
from demitasse.solver.overrides import with_settings
from demitasse.solver.path_lookup import Finder
from demitasse.solver.retention import Keep, Keeper
from demitasse.solver.schedule import Schedule
from demitasse.solver.signals import NONE, SNAPSHOT, STOP
from demitasse.solver.testing import run_test_net
from demitasse.solver.updates import Updater
from demitasse.solver.validation import check_settings, iterations_to_do, placed


class Solver:
    """A train net, its test nets, and the state of their training.

    source: a solver's path, its text with a newline in it, or a SolverParameter; settings: fields to replace.
    device: "cpu", "gpu", "gpu:1", or BackendOptions, which say more; None: as solver_mode says, where it says so, else
    the CPU.
    backend: use this one instead of making one for a device.
    weights: files (joined by commas) to start from; None: those of the solver's `weights` field.
    snapshot: a .solverstate (or .solverstate.h5) to go on from.
    level, stages: beside those of train_state.  seed, type: instead of random_seed and the file's `type`.
    auto_crop: as in netdef.net.Net.
    every_blob: keep the blobs and gradients of all nets (pycaffe reads and writes them).
    log: a Log; None: Caffe's lines on stderr.  requests: a function that gives NONE, SNAPSHOT or STOP.
    ranks: the processes that train together (solver.distributed).
    existing: what becomes of the files that another run has left at snapshot_prefix or in the log: "refuse" to train,
    "replace" them, or "warn" and, as Caffe does, write over those of the same names.
    keep: which snapshots stay, and when a test ends the run (solver.retention).

    run: this run's identity; restore takes over that of the run it resumes.  stopped: a request has ended it.
    Faults of settings, files and nets are NetErrors that name file, line and layer.
    """

    def __init__(
        self,
        source: str | os.PathLike | SolverParameter,
        *,
        device: str | BackendOptions | None = None,
        backend=None,
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
        keep: Keep | None = None,
        settings=(),
    ):
        self.log = log or Log()
        self.requests, self._may_be_asked = requests or (lambda: NONE), requests is not None
        self.ranks = ranks or Alone()
        self.param, self.where = with_settings(*read_solver(source), settings)
        self.param.type = type or self.param.type
        check_settings(self.param, self.where)
        self.find = Finder(self.where.file, self.log.info)
        self.backend = backend or training_backend(self.param, device, self.ranks, self.log.warn)
        asked = self.param.random_seed if seed is None else seed
        self.backend.seed(self.ranks.common_seed(asked if asked >= 0 else None))
        blobs = "all" if self.param.debug_info else "newest" if every_blob else "needed"
        options = {"keep": blobs, "fuse": not self.param.debug_info, "auto_crop": auto_crop}
        with placed(self.where):
            self.net = build_train_net(self.param, self.find, self.backend, level=level, stages=stages, **options)
            self.test_nets = build_test_nets(self.param, self.find, self.backend, **options)
        for net in self.test_nets:
            net.share_with(self.net)
        self.data = fingerprints(self.net, self.test_nets)
        self.ranks.join(self.net, self.backend, self.log.warn)
        self.iter, self.schedule = 0, Schedule(self.param)
        self.losses: deque[float] = deque(maxlen=self.param.average_loss)
        self.display, self.keeper = Display(self), Keeper(self, keep or Keep())
        self.updater = Updater(self.param, self.net.learnable, self.backend)
        self.callbacks: list = []  # (on_start, on_gradients_ready) pairs, as in pycaffe
        self.updates, self.loaded_from = 0, ""  # updates since the weights were loaded, and the file that they are of
        self.states_before: list[dict] = []  # of the net before each pass of the last iteration
        self.run, self.existing = new_run(), existing
        self.ours: set[str | None] = {self.run.id}  # the runs whose files are this one's; None: those of unknown ones
        self.held = contextlib.ExitStack()  # that no other process writes at its snapshot_prefix
        self.replaces: dict = {}  # others' files, to be removed when there is a snapshot
        self._pending, self._begun, self._claimed, self.stopped = NONE, False, False, False
        self.written_at, self._goal = -1, 0  # the iteration of the newest snapshot, and where `solve` will end
        with contextlib.nullcontext() if snapshot or weights else placed(self.where):
            start = self.restore if snapshot else self.load
            start(snapshot or weights or ",".join(self.param.weights))
        self.ranks.broadcast([p.data for p in self.net.learnable])

    def load(self, weights: str) -> None:
        """Start from the weights of files joined by commas, and say what matched."""
        for path in filter(None, (path.strip() for path in weights.split(","))):
            path = self.find(path, "weights")
            self.log.info(f"Finetuning from {path}")
            report = self.net.load(path)
            (self.log.warn if report.missing else self.log.info)(str(report))
            self.updates, self.loaded_from = 0, path

    def _begin(self, writes: bool) -> None:
        """Before the first iteration: what would go wrong is better said now."""
        if self._begun:
            return
        if writes or self.keeper.keep.best or self._may_be_asked:  # a Ctrl-C asks for a snapshot too
            snapshots.require_room(self)
            self._claim()
        self.log.begin(self.run, self.ours, self.existing == "replace", self.iter)
        self._begun = True
        diagnostics.begin(self)
        self.display.begin()

    def _claim(self) -> None:
        if not self._claimed:
            snapshots.claim(self)
            self._claimed = True

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self.schedule.rate(self.iter)

    def solve(self, iterations: int | None = None) -> None:
        """Train to max_iter, or for that many iterations if they are fewer; then snapshot and test as Caffe does."""
        param, n = self.param, iterations_to_do(self.param, self.where, self.iter, iterations)
        if not n:
            self.log.info(f"Nothing to do: iteration {self.iter} of {param.max_iter} (max_iter) is done already")
            return
        self.log.info(f"Solving {self.net.name}")
        self.log.info(f"Learning Rate Policy: {param.lr_policy}")
        self._begin(writes=param.snapshot_after_train or param.snapshot > 0)
        self._goal = self.iter + n
        self.step(n)
        self._goal = 0
        if (param.snapshot_after_train or self.stopped) and self.iter != self.written_at:
            self.snapshot()
        if self.stopped or self.keeper.enough:
            self.log.info("Optimization stopped early" + (f": {self.keeper.ending()}" if self.keeper.enough else "."))
            return
        if param.display and self.iter % param.display == 0:  # the loss after the last update, as Caffe shows it
            self.net.forward()
            self.losses.append(self.net.loss)
            self.log.detail(f"Iteration {self.iter}, loss = {self.smoothed_loss:g}")
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
                if self.keeper.enough:
                    return
                if self.poll() == STOP and self.ranks.size == 1:  # several ranks agree after an iteration
                    self._pending, self.stopped = NONE, True
                    return
            request = self._iterate()
            self.log.progress(self.iter, self._goal or max(end, param.max_iter), self.smoothed_loss, self._rate)
            if request == SNAPSHOT or (param.snapshot and self.iter % param.snapshot == 0):
                self.try_snapshot()
            if request == STOP:
                self.stopped = True
                return

    def _test_is_due(self) -> bool:
        interval = self.param.test_interval
        due = bool(self.test_nets and interval) and self.iter % interval == 0
        return due and (self.iter > 0 or self.param.test_initialization)

    def _iterate(self) -> int:
        """One update; the request (NONE, SNAPSHOT or STOP) that has come in meanwhile."""
        for on_start, _ in self.callbacks:
            on_start()
        shown = self.param.display > 0 and self.iter % self.param.display == 0
        with self.display.debug_lines(self.net, shown), self.backend.frozen_weights():
            loss = self._gradients()
        loss, request = self.ranks.agree(loss, self.poll())
        self._pending = NONE
        self.losses.append(loss)
        self._rate = self.schedule.after(self.iter, self.smoothed_loss)
        if shown or (self.log.records and not self.param.display):
            self.display.show(lines=shown)
        self.ranks.finish()
        for _, on_gradients_ready in self.callbacks:
            on_gradients_ready()
        self.apply_update()
        self.iter += 1
        return request

    @property
    def smoothed_loss(self) -> float:
        """The mean of the last `average_loss` iterations' losses."""
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
                raise loss_fault(self, loss, state)
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

    def poll(self) -> int:
        """The strongest request that has come in and is not yet answered."""
        self._pending = max(self._pending, self.requests())
        return self._pending

    # -- tests ---------------------------------------------------------------------------

    def test(self) -> list[dict]:
        """Run every test net over its test_iter batches; {output: mean array} of each ({} where test_iter is 0).

        Only the first rank tests.
        """
        with self.keeper.watching():
            return [run_test_net(self, i) if self.ranks.rank == 0 else {} for i in range(len(self.test_nets))]

    # -- snapshots -----------------------------------------------------------------------------------

    def snapshot(self, data: str = "") -> str:
        """Write weights, solver state and side file; the path of the state.  data: as of snapshots.write."""
        self._claim()
        path = snapshots.write(self, data)
        self.written_at = self.iter
        self.keeper.prune()
        return path

    def try_snapshot(self, data: str = "") -> bool:
        """A snapshot on the way: if the disk is full, the run goes on and the older snapshots stay."""
        try:
            self.snapshot(data)
        except (NetError, OSError) as error:
            self.log.warn(f"no snapshot at iteration {self.iter}: {error}; older ones are untouched")
            return False
        return True

    def restore(self, path: str | os.PathLike) -> None:
        """Go on from a .solverstate or .solverstate.h5, of this project's or of Caffe's writing."""
        snapshots.read(self, os.fspath(path))
        self.written_at = self.iter
        self.updates, self.loaded_from = 0, os.fspath(path)

    def close(self) -> None:
        """Release the nets' files and threads, and end the log."""
        for net in (self.net, *self.test_nets):
            net.close()
        self.held.close()
        self.log.close()
