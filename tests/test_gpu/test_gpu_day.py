"""benchmarks/gpu_day on the pretend device: every step from end to end; steps that hang, crash and fail are told."""

import json
import math
import os
import signal
import time

import pytest

from benchmarks.gpu_day import __main__ as gpu_day
from benchmarks.gpu_day.report import DEVICE_LOST, Record
from tests.test_gpu import shim


def steps_of(folder):
    return json.loads((folder / "gpu_day.json").read_text())["steps"]


@pytest.mark.skipif(shim.COMPILER is None, reason="the pretend device needs a C++ compiler")
def test_every_step_runs_from_end_to_end(tmp_path):
    assert gpu_day.run(gpu_day.STEPS, tmp_path, minutes=9, rehearse=True) == 0
    steps = steps_of(tmp_path)
    assert list(steps) == list(gpu_day.STEPS)
    for name, step in steps.items():
        assert step["status"] == "done" and step["items"] and "left out, no time" not in step, (name, step)
        assert "fault" not in json.dumps(step["items"]), json.dumps(step["items"], indent=1)
        assert step["seconds"] < step["limit"]
    assert set(steps["layers"]["items"].values()) == {"ok"}
    assert steps["nets"]["items"]["small-fcn fp32"]["values"]["largest"] < 1e-5
    assert steps["nets"]["items"]["small-fcn fp16"]["gradients"]["largest"] < 0.05
    assert steps["training"]["items"]["killed and gone on"]["same bits"]
    assert all(math.isfinite(loss) for loss in steps["training"]["items"]["curve"]["losses"])
    assert steps["others"]["items"]["squeezenet fp16"]["batch 2"]["recorded"] == "2 forward, 0 backward"
    table = (tmp_path / "gpu_day.md").read_text()
    assert "| **layers** | 12 items | done" in table and "slowest layers, ms" in table
    assert {path.name for path in tmp_path.iterdir()} == {"gpu_day.json", "gpu_day.md"}


def trouble(record: Record, rehearse: bool) -> None:
    """A step of items that fail, hang, crash or lose the device."""

    def find(item):
        if item == "raises":
            raise ValueError("a bad layer")
        if item == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if item == "hangs":
            time.sleep(600)
        if item == "loses":
            raise SystemExit(DEVICE_LOST)
        return "ok"

    record.attempt(["first", "raises", "crashes", "hangs", "loses", "last"], find)


def stuck(record: Record, rehearse: bool) -> None:
    time.sleep(600)


def broken(record: Record, rehearse: bool) -> None:
    raise ImportError("no such thing")


def test_steps_in_trouble_are_bounded_and_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_day, "MIN_SECONDS", 0.1)
    here = "tests.test_gpu.test_gpu_day"
    steps = {
        "trouble": gpu_day.Step(f"{here}:trouble", 60, 4),
        "broken": gpu_day.Step(f"{here}:broken", 60),
        "stuck": gpu_day.Step(f"{here}:stuck", 2),
    }
    assert gpu_day.run(steps, tmp_path, minutes=2, steps=steps) == 2
    found = steps_of(tmp_path)
    items = found["trouble"]["items"]
    assert list(items) == ["first", "raises", "crashes", "hangs", "loses", "last"]
    assert items["first"] == items["last"] == "ok" and found["trouble"]["status"] == "done"
    assert items["raises"]["fault"] == "ValueError: a bad layer" and "find" in "".join(items["raises"]["traceback"])
    assert items["crashes"]["fault"] == f"the process crashed with status {-signal.SIGSEGV} in it"
    assert items["hangs"]["fault"] == "the process hung and was killed in it"
    assert items["loses"]["fault"] == "the process lost its device in it"
    assert "ImportError: no such thing" in found["broken"]["items"]["the step itself"]["traceback"][-1]
    assert found["stuck"]["status"] == "was cut off at its limit" and found["stuck"]["seconds"] < 30
    assert "hung and was killed" in (tmp_path / "gpu_day.md").read_text()


def test_no_item_begins_when_the_time_is_over(tmp_path):
    record = Record(tmp_path, "step", seconds=0)
    record.attempt(["a", "b"], lambda item: "ok")
    assert steps_of(tmp_path) == {"step": {"items": {}, "left out, no time": ["a", "b"]}}


def test_a_second_call_adds_to_the_first(tmp_path):
    for step in ("first", "second"):
        Record(tmp_path, step).attempt(["item"], lambda item: "ok")
    assert [step["items"] for step in steps_of(tmp_path).values()] == [{"item": "ok"}] * 2
