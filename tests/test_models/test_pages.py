"""The pages of report and compare: what is written can be read, light and dark, by whoever looks."""

import re

import numpy as np
import pytest

from demitasse.models import pages, report_page

LIGHT, DARK = (
    dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for block in pages.STYLE.replace("@media", "\0", 1).partition("}\n* {")[0].split("\0")
)


def colour(text):
    return [int(text[i : i + 2], 16) for i in (1, 3, 5)]


def contrast(one, other):
    """As WCAG 2 has it: 1 to 21; 4.5 is the least for text."""
    bright, dim = sorted(map(report_page.luminance, (one, other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(scheme):
    for ink in ("ink", "muted"):
        for behind in ("page", "card"):
            assert contrast(colour(scheme[ink]), colour(scheme[behind])) >= 4.5, (ink, behind)


def test_every_share_of_the_confusion_matrix_can_be_read():
    assert contrast([0, 0, 0], [255, 255, 255]) == pytest.approx(21)
    for full in (report_page.RIGHT, report_page.WRONG):
        for share in np.linspace(0.001, 1, 200):
            cell = report_page._cell(float(share), full)
            behind = [int(part) for part in re.search(r"rgb\((\d+),(\d+),(\d+)\)", cell).groups()]
            ink = {"#000": [0, 0, 0], "#fff": [255, 255, 255]}[re.search(r"color:(#\w+)'", cell)[1]]
            assert contrast(ink, behind) >= 4.5, cell


def test_names_are_text_and_nothing_else():
    evil = "<b>&'\""
    counts = np.array([[5, 3], [1, 4]])
    parts = [
        report_page.matrix(counts, [evil, "x"]),
        report_page.confusions(counts, [evil, "x"]),
        pages.facts({evil: evil}),
        pages.grid(["", evil], [[evil, evil]]),
        pages.legend([0], [evil]),
        pages.figure(evil, {evil: np.zeros((4, 4, 3), np.uint8)}),
        pages.document(evil, []),
    ]
    for part in parts:
        assert "<b>" not in part and "&lt;b&gt;&amp;" in part, part


def test_the_most_frequent_confusions_are_in_words():
    counts = np.array([[90, 10, 0], [0, 40, 60], [0, 0, 5]])
    text = report_page.confusions(counts, ["sky", "road", "car"])
    assert re.findall("<li>(.*?)</li>", text) == ["road was called car: 60 %", "sky was called road: 10 %"]
    assert report_page.confusions(np.eye(3, dtype=int), "abc") == ""
