"""For which processor machine code is made: this one, or the level of x86-64 that DEMITASSE_PROCESSOR names.

A level is a set of instructions that processors of several makers and years share (x86-64 psABI).  Machine code for a
level gives the same bits on all of them; wheels bring some along (code_cache.py).
"""

from __future__ import annotations

import functools
import os

import llvmlite.binding as llvm

from demitasse.proto.errors import SolverFault

# What a processor must have for a level, beside that of the level below; the highest first.
LEVELS = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"},
}


@functools.cache
def chosen() -> str | None:
    """The level that DEMITASSE_PROCESSOR names; SolverFault where there is no such level."""
    name = os.environ.get("DEMITASSE_PROCESSOR")
    if name and name not in LEVELS:
        raise SolverFault(
            f"DEMITASSE_PROCESSOR={name}: unset it for this processor, or name one of {', '.join(LEVELS)}"
        )
    return name or None


@functools.cache
def level() -> str | None:
    """The level chosen, else the highest that this processor has; None below the lowest, and on other processors."""
    return chosen() or next((name for name in LEVELS if not missing(name)), None)


def missing(name: str) -> list[str]:
    """What this processor lacks for a level."""
    host, names = llvm.get_host_cpu_features(), list(LEVELS)
    wanted = set().union(*(LEVELS[each] for each in names[names.index(name) :]))
    return sorted(feature for feature in wanted if not host.get(feature))


def require_chosen() -> None:
    """SolverFault where machine code for the level chosen would not run here."""
    lacks = missing(chosen()) if chosen() else []
    if lacks:
        raise SolverFault(f"DEMITASSE_PROCESSOR={chosen()}: this processor lacks {', '.join(lacks)}: unset it")


@functools.cache
def has_avx() -> bool:
    """Whether there are registers of 8 floats."""
    return level() is not None or bool(llvm.get_host_cpu_features().get("avx"))


def name_and_features() -> tuple[str, str]:
    """LLVM's name of the processor, and what it has beside what the name says."""
    return (chosen(), "") if chosen() else (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
