"""`compare`: the settings that differ and the scores of runs, and their curves."""

import importlib.util
import json
import re

import pytest
from PIL import Image

from demitasse.models.__main__ import main


def log(path, rate, ious, **more):
    """A log of a run with this base_lr and the mean IUs of its tests, in two sittings of 65 s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    run = {"id": path.parent.name, "begun": "2026-01-02 03:04:05", "command": "demitasse train x"}
    values = {"base_lr": rate, "max_iter": "20", **more}
    events = []
    for start in (0, len(ious) // 2):
        events.append({"event": "run", "seconds": 0, "run": run, "iteration": start})
        events.append({"event": "settings", "seconds": 1, "values": values, "versions": {"numpy": "2.0"}})
        for number, iou in enumerate(ious[start : start + len(ious) // 2]):
            at = 10 * (start + number)
            events.append({"event": "train", "seconds": 64, "iteration": at, "loss": 1 / (1 + at)})
            events.append({"event": "test", "seconds": 65, "iteration": at, "outputs": {"loss": [2 - iou]}})
            events.append({"event": "scores", "seconds": 65, "iteration": at, "head": "score", "mean_iu": iou})
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(path)


@pytest.fixture
def two(tmp_path):
    log(tmp_path / "runs/slow/log.jsonl", "0.01", [0.1, 0.2, 0.3, 0.25])
    log(tmp_path / "runs/fast/log.jsonl", "0.1", [0.2, 0.5, 0.4, 0.3], gamma="0.1")
    return [str(tmp_path / "runs/slow"), str(tmp_path / "runs/fast/log.jsonl")]


def test_the_table_shows_what_differs_and_the_scores(two, capsys):
    assert main(["compare", *two]) == 0
    rows = {line[:21].strip(): line[21:].split("  ") for line in capsys.readouterr().out.splitlines()}
    rows = {name: [cell.strip() for cell in cells if cell.strip()] for name, cells in rows.items()}
    assert rows[""] == ["slow", "fast"] and rows["trained for"] == ["2 min 10 s", "2 min 10 s"]
    assert rows["base_lr"] == ["0.01", "0.1"] and rows["gamma"] == ["-", "0.1"]
    assert "max_iter" not in rows and "numpy" not in rows
    assert rows["mean IU: last"] == ["0.25", "0.3"]
    assert rows["mean IU: best"] == ["0.3 at 20", "0.5 at 10"]
    assert rows["test loss: best"] == ["1.7 at 20", "1.5 at 10"]


def test_the_curves_are_in_one_picture(two, tmp_path):
    pytest.importorskip("matplotlib")
    assert main(["compare", *two, "--plot", str(tmp_path / "out/curves.png")]) == 0
    with Image.open(tmp_path / "out/curves.png") as picture:
        assert picture.width == 800 and picture.height == 650, "two quantities, one below the other"


def test_the_page_says_what_it_cannot_show(two, tmp_path, capsys):
    """Logs that name no test net: settings, scores and curves stand; of images there is a line."""
    page = tmp_path / "out/compare.html"
    assert main(["compare", *two, "--page", str(page)]) == 0
    assert "the page has no images: " in capsys.readouterr().err
    text = page.read_text()
    assert "<title>slow and fast compared</title>" in text and 'name="viewport"' in text
    assert "<tr><th class=name>base_lr</th><td>0.01</td><td>0.1</td></tr>" in text
    assert "There are none: " in text and "names no test net that is still there" in text
    assert not re.search(r"(src|href)=.?(http|//)", text) and "<script" not in text
    if importlib.util.find_spec("matplotlib"):
        assert text.count("<svg") == 2 and "slow: training loss" in text and "currentColor" in text


def test_one_run_alone(two, capsys):
    assert main(["compare", two[0]]) == 0
    assert capsys.readouterr().out.endswith("\none run: name another one, too, to see in which settings they differ\n")


def test_mistakes(two, tmp_path, capsys):
    (tmp_path / "other.txt").write_text("nothing\n")
    assert main(["compare", two[0], str(tmp_path / "gone")]) == 2
    assert "gone: no such log: train with --log" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "other.txt")]) == 2
    assert "holds no events of a training" in capsys.readouterr().err
    pytest.importorskip("matplotlib")
    assert main(["compare", *two, "--plot", "curves.xyz"]) == 2
    assert "its name ends in none of" in capsys.readouterr().err
