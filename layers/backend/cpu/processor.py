"""For which processor machine code is made: a level of x86-64 that this one has, or this very one.

DEMITASSE_PROCESSOR names another level, or "native": then nothing that came along is used.

A level is a set of instructions that processors of several makers and years share (x86-64 psABI).  Machine code for a
level gives the same bits on all of them; some of it comes along (code_cache.py).
"""

from __future__ import annotations

import functools
import os
import platform

import llvmlite.binding as llvm

from demitasse.proto.errors import SolverFault

# What a processor must have for a level, beside that of the level below; the highest first.
LEVELS = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"},
}
# For which processor LLVM orders the instructions of a level, where that is not the level's own choice, less what that
# one has beyond the level.  Ordered for Haswell, a level's choice, tile transforms take 10 to 15 % longer on a Zen.
MODELS = {
    "x86-64-v3": (
        "znver2",
        "-sse4a,-aes,-pclmul,-sha,-adx,-rdrnd,-rdseed,-clzero,-mwaitx,-clwb,-clflushopt,-wbnoinvd,-rdpid,-rdpru,"
        "-prfchw,-fsgsbase,-xsave,-xsavec,-xsaveopt,-xsaves",
    )
}
NATIVE = "native"


@functools.cache
def chosen() -> str | None:
    """What DEMITASSE_PROCESSOR names: a level, or "native"; SolverFault where it names something else."""
    name = os.environ.get("DEMITASSE_PROCESSOR")
    if name and name not in (*LEVELS, NATIVE):
        raise SolverFault(
            f"DEMITASSE_PROCESSOR={name}: unset it, or name one of {', '.join((*LEVELS, NATIVE))} (for this processor)"
        )
    return name or None


@functools.cache
def level() -> str | None:
    """The level chosen, else the highest that this processor has; None below the lowest, on other processors, and
    where code is to be native."""
    if chosen():
        return None if chosen() == NATIVE else chosen()
    return next((name for name in LEVELS if not missing(name)), None)


def missing(name: str) -> list[str]:
    """What this processor lacks for a level."""
    host, names = llvm.get_host_cpu_features(), list(LEVELS)
    wanted = set().union(*(LEVELS[each] for each in names[names.index(name) :]))
    return sorted(feature for feature in wanted if not host.get(feature))


def require_chosen() -> None:
    """SolverFault where machine code for the level chosen would not run here."""
    lacks = missing(chosen()) if chosen() in LEVELS else []
    if lacks:
        raise SolverFault(f"DEMITASSE_PROCESSOR={chosen()}: this processor lacks {', '.join(lacks)}: unset it")


@functools.cache
def has_avx() -> bool:
    """Whether there are registers of 8 floats."""
    return level() is not None or bool(llvm.get_host_cpu_features().get("avx"))


def vector_registers() -> tuple[str, int, int]:
    """LLVM's letter for registers of floats, how many there are, and how many floats each holds; "", 0, 0 where that is
    not known."""
    machine, host = platform.machine().lower(), llvm.get_host_cpu_features()
    if machine in ("aarch64", "arm64"):
        return "w", 32, 4
    if machine not in ("x86_64", "amd64"):
        return "", 0, 0
    has = LEVELS.get(chosen()) or {name for name in host if host[name]}
    return ("v", 32, 16) if "avx512vl" in has else ("v", 16, 8) if "avx" in has else ("v", 16, 4)


def name_and_features() -> tuple[str, str]:
    """LLVM's name of the processor, and what it has beside what the name says."""
    if chosen() in LEVELS:
        return MODELS.get(chosen(), (chosen(), ""))
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
