"""benchmarks.soak in its short form: nothing gathers, and what gathers is told."""

import pytest

from benchmarks import soak


@pytest.mark.parametrize("what", soak.WORK)
def test_nothing_grows(what):
    rows = []
    assert soak.soak(what, 0.0, each=12, warm=0.0, say=rows.append) == []
    assert len(rows) >= 3 and all(row.startswith(what) for row in rows)


def test_what_grows_is_told():
    first, last = soak.Row(1000, 60, 100, 8, 3), soak.Row(3000, 180, 121, 11, 6)
    assert soak.grown("train", [first, last], 60) == [
        "train: RSS grew from 100 to 121 over 2000 calls (allowed: 20)",
        "train: files grew from 8 to 11 over 2000 calls (allowed: 2)",
        "train: threads grew from 3 to 6 over 2000 calls (allowed: 2)",
    ]
    assert soak.grown("train", [soak.Row(1, 1, 0, 0, 0), first, first], 60) == []


def test_the_command(capsys):
    assert soak.main(["--minutes", "0", "--what", "serve", "--each", "5"]) == 0
    heading, *rows, verdict = capsys.readouterr().out.splitlines()
    assert heading.split() == ["calls", "seconds", "RSS", "MB", "files", "threads"]
    assert [row.split()[1] for row in rows[:2]] == ["5", "10"] and verdict == "nothing grows"
