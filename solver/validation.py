"""The fields of a SolverParameter, checked before anything is built, and their locations for faults."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from demitasse.proto.errors import NetError, SolverFault, Where
from demitasse.proto.messages import SolverParameter
from demitasse.solver.policy import check_policy
from demitasse.solver.precision import VERSIONS
from demitasse.solver.updates import check_update

EVALUATIONS = ("classification", "detection")
MINIMA = {"average_loss": 1, "max_iter": 0, "display": 0, "snapshot": 0, "test_interval": 0, "weight_decay": 0}


@contextlib.contextmanager
def placed(where: Where) -> Iterator[None]:
    """Add to any NetError raised inside the location of the field that it speaks of, if it has no location yet."""
    try:
        yield
    except NetError as fault:
        if fault.where is None:
            words = re.findall(r"\w+", fault.what)
            locations = [where.fields[mark] for word in words for mark in (word, f"{word}[0]") if mark in where.fields]
            fault.where = locations[0] if locations else where
        raise


def check_settings(param: SolverParameter, where: Where) -> None:
    """SolverFault, with the location of the field it speaks of, for settings that cannot work."""
    with placed(where):
        check_policy(param)
        check_update(param)
        for field, known in (("eval_type", EVALUATIONS), ("ap_version", VERSIONS)):
            if getattr(param, field) not in known:
                raise SolverFault(f"{field} '{getattr(param, field)}' is not known: {', '.join(known)}")
        for field, least in MINIMA.items():
            if getattr(param, field) < least:
                raise SolverFault(f"{field} is {getattr(param, field):g}: it must be {least} or more")


def iterations_to_do(param: SolverParameter, where: Where, done: int, asked: int | None) -> int:
    """How many iterations are left to max_iter, or as many as are asked for if they are fewer; SolverFault where
    neither says how many."""
    if not param.max_iter and asked is None:
        with placed(where):
            raise SolverFault(
                f"max_iter is {'0' if param.HasField('max_iter') else 'not set'}: say how many "
                "iterations to train (also: --iterations)"
            )
    left = max(0, param.max_iter - done)
    return left if asked is None else min(asked, left) if param.max_iter else asked
