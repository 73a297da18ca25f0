"""Which nets a solver trains and tests: all the ways of a SolverParameter to name them, and their states.

    train net   exactly one of net, net_param, train_net, train_net_param
    test nets   each test_net_param, then each test_net, then the generic net (net_param or net) for every
                test_iter that is left; each in its test_state, if there are any

A state is built up from the phase, the net's own `state` field, and train_state or test_state.
"""

from __future__ import annotations

from netdef.net import Net
from proto.errors import SolverFault
from proto.messages import TEST, TRAIN, NetState

TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


def build_train_net(param, find, backend, *, level: int = 0, stages=(), keep="needed", seed: int | None = None) -> Net:
    """The net to be trained.  find: a Finder; level, stages: beside those of train_state."""
    given = [field for field in TRAIN_FIELDS if param.HasField(field)]
    if len(given) != 1:
        found = f"has {' and '.join(given)}" if given else "has none"
        raise SolverFault(f"a solver names its train net by exactly one of {', '.join(TRAIN_FIELDS)}; this one {found}")
    state = NetState()
    state.CopyFrom(param.train_state)
    if level:
        state.level = level
    state.stage.extend(stages)
    return _build(param, given[0], None, find, state, TRAIN, backend, keep, seed)


def build_test_nets(param, find, backend) -> list[Net]:
    """The nets to be tested, in the order of their test_iter."""
    sources = _test_sources(param)
    states = list(param.test_state) or [NetState()] * len(sources)
    return [_build(param, field, index, find, state, TEST, backend, "needed", None)
            for (field, index), state in zip(sources, states, strict=True)]


def _test_sources(param) -> list[tuple[str, int | None]]:
    """(field, index in it) of every test net; SolverFault where counts do not fit."""
    sources = [("test_net_param", i) for i in range(len(param.test_net_param))]
    sources += [("test_net", i) for i in range(len(param.test_net))]
    iters, generic = len(param.test_iter), [field for field in ("net_param", "net") if param.HasField(field)]
    if generic and iters >= len(sources):
        sources += [(generic[0], None)] * (iters - len(sources))
    if iters != len(sources):
        remedy = "give one test_iter for each test net" if sources else "name a test_net, or remove test_iter"
        raise SolverFault(f"there are {len(sources)} test nets and {iters} test_iter: {remedy}")
    if param.test_state and len(param.test_state) != len(sources):
        raise SolverFault(f"there are {len(sources)} test nets and {len(param.test_state)} test_state: "
                          "give one test_state for each test net, or none")
    if sources and param.test_interval <= 0:
        raise SolverFault(f"there are {len(sources)} test nets, but test_interval is {param.test_interval}: "
                          "say after how many iterations to test, or remove test_iter and the test nets")
    for count in param.test_iter:
        if count < 0:
            raise SolverFault(f"test_iter is {count}: it must be 0 (never test this net) or more")
    return sources


def _build(param, field, index, find, state, phase, backend, keep, seed) -> Net:
    source = getattr(param, field) if index is None else getattr(param, field)[index]
    if isinstance(source, str):
        source = find(source, field)
    return Net(source, state.phase if state.HasField("phase") else phase, backend=backend, level=state.level,
               stages=list(state.stage), keep=keep, seed=seed)
