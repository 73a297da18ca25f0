"""The fields of a SolverParameter, checked before anything is built."""

from __future__ import annotations

import re

from proto.errors import SolverFault, Where
from solver.policy import check_policy
from solver.updates import check_update

LEAST = {"average_loss": 1, "max_iter": 0, "display": 0, "snapshot": 0, "test_interval": 0}


def check_settings(param, where: Where) -> None:
    """SolverFault, with the place of the field it speaks of, for settings that cannot work."""
    try:
        check_policy(param)
        check_update(param)
        for field, least in LEAST.items():
            if getattr(param, field) < least:
                raise SolverFault(f"{field} is {getattr(param, field)}: it must be {least} or more")
    except SolverFault as fault:
        words = re.findall(r"\w+", fault.what)
        places = [where.fields[mark] for word in words for mark in (word, f"{word}[0]") if mark in where.fields]
        fault.where = places[0] if places else where
        raise
