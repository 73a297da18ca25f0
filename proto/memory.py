"""How much memory the machine has left: what cannot fit is said before the system ends the process for it."""

from __future__ import annotations

import os
import re


def memory_left() -> int | None:
    """Bytes that this process can have in all, what it holds already included; None where the system does not say.

    That is what is free, what the system would give back, swap, and our own; less in a container with a limit.
    """
    own = _pages("/proc/self/statm", 1) * _PAGE
    machine = _of_machine()
    if machine is None:
        return None
    limits = [machine + own]
    for limit, used in (("memory.max", "anon"), ("memory/memory.limit_in_bytes", "total_rss")):
        limit_bytes = _read(f"/sys/fs/cgroup/{limit}").strip()
        if limit_bytes.isdigit():
            folder = os.path.dirname(f"/sys/fs/cgroup/{limit}")
            held = re.search(rf"^{used} (\d+)", _read(f"{folder}/memory.stat"), re.MULTILINE)
            limits.append(int(limit_bytes) - (int(held[1]) if held else 0) + own)
    return max(0, min(limits))


def bytes_text(count: int) -> str:
    """2.3 GB, 120 MB."""
    for unit, size in (("TB", 10**12), ("GB", 10**9)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 10**6:,.0f} MB"


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _of_machine() -> int | None:
    kilobytes = dict(re.findall(r"(\w+): +(\d+) kB", _read("/proc/meminfo")))
    if "MemAvailable" in kilobytes:
        return 1024 * (int(kilobytes["MemAvailable"]) + int(kilobytes.get("SwapFree", 0)))
    try:
        return os.sysconf("SC_PHYS_PAGES") * _PAGE  # no Linux: all there is
    except (AttributeError, ValueError, OSError):
        return None


def _pages(path: str, column: int) -> int:
    words = _read(path).split()
    return int(words[column]) if len(words) > column else 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError):
        return ""
