"""Values of options written as elsewhere: one line says what to write."""

import argparse

import pytest

from demitasse.models.commands.arguments import share
from demitasse.proto.option_values import finite, from_zero, integer, size, whole_number
from demitasse.solver.__main__ import main as solver


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (whole_number, "12", 12),
        (integer, "-3", -3),
        (finite, "1e-4", 1e-4),
        (finite, "-.5", -0.5),
        (share, "0.25", 0.25),
        (size, "360x480", (360, 480)),
        (size, "360X480", (360, 480)),
    ],
)
def test_values(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (whole_number, "1e5", "is not a whole number from 1; write 100000"),
        (whole_number, "100k", "is not a whole number from 1; write 100000"),
        (whole_number, "1.000.000", "digits are written without marks between them: write 1000000"),
        (whole_number, "3.0", "write 3"),
        (whole_number, "2*50", "nothing is computed here: write 100"),
        (whole_number, "1/2", "is not a whole number from 1; 0.5 is no whole number"),
        (whole_number, "0", "is not a whole number from 1"),
        (whole_number, "\uff13", "write 3"),
        (whole_number, "3 epochs", "training is counted in iterations"),
        (integer, "None", "is not a whole number; leave the option out for its default"),
        (integer, "nan", "is not a whole number"),
        (from_zero, "-4", "is not a whole number from 0"),
        (finite, "1e\u20134", "its dash is another character than the minus sign: write 1e-4"),
        (finite, "1/256", "nothing is computed here: write 0.00390625"),
        (finite, "inf", "is not a finite number"),
        (share, "1/2", "is not a number above 0 (and up to 16); nothing is computed here: write 0.5"),
        (share, "25%", "write 0.25"),
        (size, "360,480", "is not height x width, such as 360x480; write 360x480"),
        (size, "(360, 480)", "write 360x480"),
        (size, "360*480", "write 360x480"),
        (size, "500", "write 500x500"),
        (size, "0x5", "is not height x width, such as 360x480"),
        (size, "1x70000", "no side of a picture can be above 65535 pixels"),
    ],
)
def test_what_to_write_instead(read, text, said):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        read(text)
    assert str(caught.value).startswith(f"'{text}'") and said in str(caught.value)


def test_a_command_says_it_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        solver(["train", "solver.prototxt", "--iterations", "1e5"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1
    assert "'1e5' is not a whole number from 1; write 100000" in said
