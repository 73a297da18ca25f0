"""Which nets a solver trains and tests, in all the ways of a SolverParameter to name them; and on which device.

    train net   exactly one of net, net_param, train_net, train_net_param
    test nets   each test_net_param, then each test_net, then the generic net (net_param or net) for every
                test_iter that is left; each in its test_state, if there are any

A state is built up from the phase, the net's own `state` field, and train_state or test_state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from demitasse.layers.backend.contract import Backend
from demitasse.layers.backend.options import BackendOptions
from demitasse.netdef.net import Net
from demitasse.netdef.wording import count_text
from demitasse.proto.errors import SolverFault
from demitasse.proto.messages import TEST, TRAIN, NetState, SolverParameter
from demitasse.proto.warning import warn
from demitasse.solver.distributed import Alone
from demitasse.solver.path_lookup import Finder

TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


def build_train_net(
    param: SolverParameter, find: Finder, backend: Backend, *, level: int = 0, stages: Sequence[str] = (), **options
) -> Net:
    """The net to be trained.  find: a Finder; level, stages: beside those of train_state; options: of Net.

    SolverFault where the solver does not name exactly one.
    """
    given = [field for field in TRAIN_FIELDS if param.HasField(field)]
    if len(given) != 1:
        found = f"has {' and '.join(given)}" if given else 'has none: add, say, net: "train_val.prototxt"'
        raise SolverFault(f"a solver names its train net by exactly one of {', '.join(TRAIN_FIELDS)}; this one {found}")
    state = NetState(phase=TRAIN)
    state.MergeFrom(param.train_state)
    if level:
        state.level = level
    state.stage.extend(stages)
    return _build(_found(getattr(param, given[0]), given[0], find), state, backend, options)


def build_test_nets(param: SolverParameter, find: Finder, backend: Backend, **options) -> list[Net]:
    """The nets to be tested, in the order of their test_iter."""
    sources = [_found(source, field, find) for field, source in _test_sources(param)]
    nets = []
    for source, given in zip(sources, param.test_state or [NetState()] * len(sources), strict=True):
        state = NetState(phase=TEST)
        state.MergeFrom(given)
        nets.append(_build(source, state, backend, options))
    return nets


def _test_sources(param) -> list[tuple[str, object]]:
    """(field, what it gives) of every test net; SolverFault where counts do not fit."""
    sources = [("test_net_param", net) for net in param.test_net_param]
    sources += [("test_net", path) for path in param.test_net]
    iters, generic = len(param.test_iter), [field for field in ("net_param", "net") if param.HasField(field)]
    if generic and iters >= len(sources):
        sources += [(generic[0], getattr(param, generic[0]))] * (iters - len(sources))
    if iters != len(sources):
        remedy = "give one test_iter for each test net" if sources else "name a test_net, or remove test_iter"
        raise SolverFault(f"there are {count_text(len(sources), 'test net')} and {iters} test_iter: {remedy}")
    if param.test_state and len(param.test_state) != len(sources):
        raise SolverFault(
            f"there are {count_text(len(sources), 'test net')} and {len(param.test_state)} test_state: "
            "give one test_state for each test net, or none"
        )
    if sources and param.test_interval <= 0:
        raise SolverFault(
            f"test_iter is given for {count_text(len(sources), 'test net')}, but test_interval is "
            f"{param.test_interval}: say after how many iterations to test, or remove test_iter and the "
            "test nets"
        )
    if not sources and param.test_interval > 0:
        net = "test_iter" if generic else "a test_net and its test_iter"
        warn(f"test_interval: {param.test_interval} has no effect, for nothing is tested: give {net}, or remove it")
    for count in param.test_iter:
        if count < 0:
            raise SolverFault(f"test_iter is {count}: it must be 0 (never test this net) or more")
    return sources


def _found(source, field: str, find):
    """A net's message, or the path of the file that a field names."""
    return find(source, field) if isinstance(source, str) else source


def _build(source, state: NetState, backend, options) -> Net:
    return Net(source, state.phase, backend=backend, level=state.level, stages=list(state.stage), **options)


def training_backend(
    param: SolverParameter, device: str | BackendOptions | None, ranks: Alone, warn: Callable[[str], None]
) -> Backend:
    """The backend that a solver trains on: the device asked for, else the one that its solver_mode names.

    A GPU that only the file names and that is missing is warned of, and the CPU taken; one asked for is a SolverFault.
    """
    options = device if isinstance(device, BackendOptions) else BackendOptions(device)
    chosen = options.device
    if chosen is None:
        gpu = param.HasField("solver_mode") and param.solver_mode == SolverParameter.GPU
        ids = [param.device_id, *param.device_ids] if param.HasField("device_id") else []
        number = f":{ids[ranks.rank % len(ids)]}" if ids else ""
        if gpu and len(ids) > ranks.size:
            warn(f"device_id names {len(ids)} GPUs: each process trains on one; for all, mpirun -n {len(ids)} ...")
        chosen = f"gpu{number}" if gpu else "cpu"
    try:
        return options.on(ranks.device(chosen)).make()
    except SolverFault as fault:
        if options.device is not None:
            raise
        warn(f"solver_mode is GPU, but {fault}; training on the CPU")
        return options.on("cpu").make()
