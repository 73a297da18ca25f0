"""Log lines that Caffe's parsers read, the progress bar, the JSON file and the plot."""

import io
import json
import os
import re

import numpy as np
import pytest

from demitasse.proto.errors import SolverFault
from demitasse.solver.identity import new_run
from demitasse.solver.log import Log
from demitasse.solver.log_lines import Output, output_lines
from demitasse.solver.plot import Plot
from demitasse.solver.solver import Solver
from tests.test_solver import small

PREFIX = r"[IWEF](\d{4}) (\d\d:\d\d:\d\d\.\d{6}) +(\d+) ([\w.]+):(\d+)\] "

# As tools/extra/parse_log.py of Caffe has them.
ITERATION = re.compile(r"Iteration (\d+)")
TRAIN_OUTPUT = re.compile(r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)")
TEST_OUTPUT = re.compile(r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)")
LEARNING_RATE = re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)")


def outputs(**values):
    return [Output(name, np.float32(value), float(name == "loss")) for name, value in values.items()]


def test_every_line_has_glogs_prefix_and_the_callers_place():
    stream = io.StringIO()
    log = Log(stream)
    log.info("Solving x")
    log.warn("careful")
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(PREFIX + "Solving x", first)[4] == "test_log.py"
    assert re.fullmatch(PREFIX + "careful", second) and second[0] == "W"
    assert int(re.match(PREFIX, second)[5]) == int(re.match(PREFIX, first)[5]) + 1


def test_lines_of_a_run_are_read_by_caffes_parsers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stream = io.StringIO()
    fields = "display: 10 test_iter: 2 test_interval: 20 test_compute_loss: true snapshot_after_train: false"
    Solver(small.write(tmp_path, fields), device="generic", log=Log(stream)).solve()
    lines = stream.getvalue().splitlines()
    assert all(re.match(PREFIX, line) for line in lines)
    text = [line.split("] ", 1)[1] for line in lines]
    number = r"[\d.e+-]+"
    loss = rf"loss = ({number}) \(\* 1 = \1 loss\)"
    display = [
        rf"Iteration \d+ \({number} iter/s, {number}s/10 iters\), loss = {number}",
        rf"    Train net output #0: {loss}",
        r"Iteration \d+, lr = 0\.05",
    ]
    test = [
        r"Iteration \d+, Testing net \(#0\)",
        rf"Test loss: {number}",
        rf"    Test net output #0: accuracy = {number}",
        rf"    Test net output #1: {loss}",
    ]
    expected = [
        "Solving small",
        "Learning Rate Policy: fixed",
        r"This is run [0-9a-f]{8}, begun \d{4}-\d\d-\d\d \d\d:\d\d:\d\d by `.*`",
        *test,
        *display,
        *display,
        rf"Iteration 20, loss = {number}",
        *test,
        r"Optimization Done\.",
    ]
    assert len(text) == len(expected) and all(map(re.fullmatch, expected, text))
    assert [ITERATION.search(line)[1] for line in text if "lr = " in line] == ["0", "10"]
    assert [TRAIN_OUTPUT.search(line)[2] for line in text if TRAIN_OUTPUT.search(line)] == ["loss"] * 2
    assert [TEST_OUTPUT.search(line)[2] for line in text if TEST_OUTPUT.search(line)] == ["accuracy", "loss"] * 2
    assert [LEARNING_RATE.search(line)[1] for line in text if LEARNING_RATE.search(line)] == ["0.05"] * 2


@pytest.mark.parametrize("rate", [0.01, 1e-10, 5e-5, 1e-14, 0.1])
def test_rates_are_written_as_parsers_read_them(rate):
    assert float(LEARNING_RATE.search(f"Iteration 5, lr = {rate:g}")[1]) == pytest.approx(rate)


def test_outputs_are_counted_through_all_their_numbers_and_maps_are_not_listed():
    lines = output_lines(
        "Test", [Output("a", np.arange(2)), Output("map", np.zeros((21, 100, 100))), Output("b", np.array(3.0), 0.5)]
    )
    assert lines == [
        "    Test net output #0: a = 0",
        "    Test net output #1: a = 1",
        "    Test net output #2: map holds 210000 numbers",
        "    Test net output #3: b = 3 (* 0.5 = 1.5 loss)",
    ]


def test_a_terminal_gets_a_bar_and_no_line_noise():
    stream = io.StringIO()
    log = Log(stream, terminal=True)
    for iteration in range(1, 6):
        log.detail(f"Iteration {iteration - 1}, lr = 0.01")
        log.progress(iteration, 5, 1.5, 0.01)
    log.warn("hot")
    log.close()
    text = stream.getvalue()
    assert "5/5" in text and "loss 1.5, lr 0.01" in text and "warning: hot\n" in text
    assert "lr = " not in text and not re.search(PREFIX, text)


def test_the_json_file_has_an_object_per_event_and_goes_on_after_a_restart(tmp_path):
    path = tmp_path / "new" / "run.jsonl"
    for part in range(2):
        log = Log(io.StringIO(), jsonl=path)
        log.point(part, 1.0, float(np.float32(0.1)), outputs(loss=1.0), {"loss": 0.5})
        log.test(part, 0, [Output("iou", np.array([0.5, np.nan]))], None)
        log.event("snapshot", iteration=part, state="x")
        log.close()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(e["event"], e["iteration"]) for e in events] == [
        ("train", 0),
        ("test", 0),
        ("snapshot", 0),
        ("train", 1),
        ("test", 1),
        ("snapshot", 1),
    ]
    assert events[0] | {"seconds": 0} == {
        "event": "train",
        "seconds": 0,
        "iteration": 0,
        "loss": 1.0,
        "lr": 0.1,
        "outputs": {"loss": 1.0},
        "per_label": {"loss": 0.5},
    }
    assert events[1]["outputs"] == {"iou": [0.5, None]}


def test_a_log_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SolverFault, match="cannot write the log .*file/run.jsonl"):
        Log(jsonl=tmp_path / "file" / "run.jsonl")


def test_the_plot_is_a_picture_replaced_as_a_whole(tmp_path):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    path = tmp_path / "new" / "loss.png"
    log = Log(io.StringIO(), listeners=[Plot(path, "a title")])
    for iteration in range(3):
        log.point(iteration, 1 / (1 + iteration), 0.1, outputs(loss=1), {})
    log.test(2, 0, [*outputs(accuracy=0.5), Output("each", np.zeros(3))], None)
    log.close()
    assert path.read_bytes().startswith(b"\x89PNG") and [p.name for p in path.parent.iterdir()] == ["loss.png"]
    Plot(path).close()  # nothing to show yet is no mistake
    with pytest.raises(SolverFault, match=r"plot .*loss.xyz: .*png"):
        Plot(tmp_path / "loss.xyz")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_log_that_fails_at_once_ends_the_run_before_it_begins():
    with pytest.raises(SolverFault, match="cannot write the log /dev/full: No space left on device: give another"):
        Log(io.StringIO(), terminal=False, jsonl="/dev/full").begin(new_run(), set(), overwrite=False, iteration=0)


def test_a_log_or_a_plot_that_fails_on_the_way_does_not_end_the_run(tmp_path):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    stream, plot = io.StringIO(), Plot(tmp_path / "loss.png")
    log = Log(stream, terminal=False, jsonl=tmp_path / "run.jsonl", listeners=[plot])
    log.json_file.close()
    log.json_file = open("/dev/full", "w") if os.path.exists("/dev/full") else Full()
    (tmp_path / "loss.png").mkdir()  # what is there now cannot be replaced
    plot.drawn -= 100
    log.point(0, 1.0, 0.1, outputs(loss=1), {})
    log.point(1, 0.5, 0.1, outputs(loss=1), {})
    log.close()
    lines = [line.split("] ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines[1] == "the JSON log ends here: No space left on device"
    assert len(lines) == 2 and lines[0].startswith("no more plots: Could not write file")


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_that_nobody_takes_do_not_end_the_run(tmp_path, terminal):
    log = Log(Full(), terminal=terminal, jsonl=tmp_path / "run.jsonl")
    for iteration in range(3):
        log.info("a line")
        log.progress(iteration + 1, 3, 1.0, 0.1)
        log.point(iteration, 1.0, 0.1, outputs(loss=1), {})
    log.close()
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == 3


class Full(io.StringIO):
    def flush(self):
        raise OSError(28, "No space left on device")


def test_a_plot_that_cannot_be_written_is_said_at_once(tmp_path):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    (tmp_path / "loss.png").mkdir()
    with pytest.raises(SolverFault, match="cannot write the plot .*loss.png: a folder"):
        Plot(tmp_path / "loss.png")
