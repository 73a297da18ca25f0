"""caffe.SGDSolver and its like: the engine's solver as pycaffe shows it.

solver = caffe.SGDSolver("solver.prototxt")
solver.net.copy_from("vgg16-fcn.caffemodel")
solver.step(100)
"""

from __future__ import annotations

from caffe import mode
from caffe.files import require_file
from caffe.log import make_log
from caffe.net import Net
from demitasse.proto.messages import SolverParameter
from demitasse.proto.text import read_solver
from demitasse.proto.warning import warn
from demitasse.solver.solver import Solver as Engine


class Solver:
    """A train net, its test nets and their training.

    solver_file: a solver's prototxt, or a SolverParameter.  Where it computes is for caffe.set_mode_* to say, as in
    pycaffe; its `solver_mode` is for `python -m solver`.
    """

    type = ""  # None given: as the file says

    def __init__(self, solver_file):
        if not isinstance(solver_file, SolverParameter):
            require_file(solver_file)
        said, _ = read_solver(solver_file)
        if self.type not in ("", said.type):
            warn(
                f'{solver_file} says type: "{said.type}", but the script asks for {type(self).__name__}, '
                "which counts; caffe.get_solver goes by the file"
            )
        seed = mode.random_seed() if said.random_seed < 0 else None
        self._engine = Engine(
            solver_file,
            backend=mode.backend(),
            seed=seed,
            type=self.type or None,
            every_blob=True,
            log=make_log(),
            existing="warn",  # scripts that are run again rely on it
        )
        self.net = Net.of(self._engine.net)
        self.test_nets = [Net.of(net) for net in self._engine.test_nets]

    @property
    def iter(self) -> int:
        """The number of updates done so far; a restored solver resumes from its snapshot's."""
        return self._engine.iter

    @property
    def lr(self) -> float:
        """The learning rate of the next update, before each param's lr_mult."""
        return self._engine.lr

    @property
    def param(self) -> SolverParameter:
        """The settings; base_lr, max_iter, display and the like may be changed between steps."""
        return self._engine.param

    def step(self, iterations: int) -> None:
        """Do that many updates, with the tests, displays and snapshots that fall due; max_iter is not looked at.

        Afterwards the params' diffs are what was taken from their data last, as in Caffe, not gradients.  ValueError
        for a negative number; SolverFault where the loss is no longer finite, which names the layer where it began.
        """
        if int(iterations) < 0:
            raise ValueError(f"step takes a number of iterations from 0, not {iterations}")
        self._lend()
        self._engine.step(int(iterations))
        self._engine.updater.updates_to_grads()

    def solve(self, resume_file: str | None = None) -> None:
        """Train to max_iter, from a .solverstate if one is given; then snapshot and test as the file says.

        SolverFault as of `step`, and where max_iter is missing.
        """
        if resume_file:
            self.restore(resume_file)
        self._lend()
        self._engine.solve()

    def restore(self, state_file) -> None:
        """Go on from a .solverstate or .solverstate.h5, and from the weights that it names.

        FileFault (a RuntimeError) where there is no such file, WeightsFault where it is of another net or solver; then
        nothing has changed.
        """
        self._lend()
        self._engine.restore(require_file(state_file))

    def snapshot(self) -> None:
        """Write PREFIX_iter_N.caffemodel and .solverstate (or .h5), PREFIX being snapshot_prefix.

        SolverFault or WeightsFault where they cannot be written; older files stay whole.
        """
        self._lend()
        self._engine.snapshot()

    def apply_update(self) -> None:
        """One update from the diffs that are in the net; it counts as an iteration, as in Caffe."""
        self._lend()
        self._engine.apply_update()
        self._engine.updater.updates_to_grads()
        self._engine.iter += 1

    def share_weights(self, net: Net) -> None:
        """Let another net use this solver's weights: the same arrays, for layers of the same names.

        WeightsFault where shapes differ.
        """
        net.share_with(self.net)

    def add_callback(self, on_start, on_gradients_ready) -> None:
        """Call on_start() before each iteration, on_gradients_ready() before each update, when the diffs of params hold
        the sum of iter_size passes.  What they write into blobs and params counts."""

        def then_lend(function):
            def call():
                function()
                self._lend()

            return call

        self._engine.callbacks.append((then_lend(on_start), then_lend(on_gradients_ready)))

    def _lend(self) -> None:
        for net in (self.net, *self.test_nets):
            net.lend()


class SGDSolver(Solver):
    """A Solver of type SGD, whatever its file says."""

    type = "SGD"


class NesterovSolver(Solver):
    """A Solver of type Nesterov, whatever its file says."""

    type = "Nesterov"


class AdaGradSolver(Solver):
    """A Solver of type AdaGrad, whatever its file says."""

    type = "AdaGrad"


class RMSPropSolver(Solver):
    """A Solver of type RMSProp, whatever its file says."""

    type = "RMSProp"


class AdaDeltaSolver(Solver):
    """A Solver of type AdaDelta, whatever its file says."""

    type = "AdaDelta"


class AdamSolver(Solver):
    """A Solver of type Adam, whatever its file says."""

    type = "Adam"


_CLASSES = {
    cls.type: cls for cls in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}


def get_solver(solver_file) -> Solver:
    """The solver of the type that the file says."""
    if not isinstance(solver_file, SolverParameter):
        require_file(solver_file)
    said, _ = read_solver(solver_file)
    return _CLASSES.get(said.type, Solver)(solver_file)  # a type that there is not: the engine says so
