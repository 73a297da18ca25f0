"""The events of a run, as its JSON log has them, as curves: for each quantity the lines that share its axis."""

from __future__ import annotations

from collections.abc import Iterable

Points = list[tuple[int, float]]  # (iteration, value)
Curves = dict[str, dict[str, Points]]  # {quantity: {line: its points}}

LOSS, SCORE, RATE = "loss", "score", "learning rate"
SCORES = {"mean_iu": "mean IU", "pixel_accuracy": "pixel accuracy"}


def curves_of(events: Iterable[dict]) -> Curves:
    """The losses of training and tests, the scores, every other test output of one number, the learning rate.

    Where a run was resumed, the later record of an iteration holds.
    """
    found: dict[str, dict[str, dict[int, float]]] = {LOSS: {}, SCORE: {}}
    for event in events:
        for quantity, line, value in _values(event):
            if isinstance(value, (int, float)):
                found.setdefault(quantity, {}).setdefault(line, {})[event["iteration"]] = value
    rates = found.pop(RATE, {})  # shown last
    found |= {RATE: rates} if rates else {}
    return {
        quantity: {line: sorted(points.items()) for line, points in lines.items()}
        for quantity, lines in found.items()
        if lines
    }


def _values(event: dict):
    """(quantity, line, value) of an event."""
    kind = event.get("event")
    if not isinstance(event.get("iteration"), int) or kind not in ("train", "test", "scores"):
        return
    where = f" (test net {event['net']})" if event.get("net") else ""
    if kind == "train":
        yield LOSS, "training loss", event.get("loss")
        yield RATE, "learning rate", event.get("lr")
    elif kind == "test":
        for name, value in (event.get("outputs") or {}).items():
            value = value[0] if isinstance(value, list) and len(value) == 1 else value
            yield LOSS if LOSS in name else name, f"test {name}{where}", value
    else:
        head = "" if event.get("head") == "score" else f" of {event.get('head')}"
        for key, name in SCORES.items():
            yield SCORE, f"{name}{head}{where}", event.get(key)
