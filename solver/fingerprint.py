"""Which data a run was trained on: for each data layer how many samples, and a digest that tells them from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from demitasse.netdef.net import Net

DIGITS = 12  # of the digest


def fingerprints(train: Net, tests: Iterable) -> dict[str, str]:
    """{"data (TRAIN)": "375 samples, 3f2a9c1e0b7d"} of the data layers of a train net and its test nets that know what
    they read."""
    found = {}
    phases = ["TRAIN", "TEST", *(f"TEST {number}" for number in range(1, 1000))]
    for phase, net in zip(phases, (train, *tests), strict=False):
        for step in net.plan.steps:
            lines = list(step.layer.data_origin())
            if lines:
                digest = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
                what = lines[0] if len(lines) == 1 else f"{len(lines)} samples"
                found[f"{step.name} ({phase})"] = f"{what}, {digest[:DIGITS]}"
    return found


def changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """A line for each data layer whose data are not those that they were."""
    return [
        f"the data of {name} have changed: {before[name]} then, {now[name]} now; what the run "
        "scores from here on is not comparable with before"
        for name in before.keys() & now.keys()
        if before[name] != now[name]
    ]
