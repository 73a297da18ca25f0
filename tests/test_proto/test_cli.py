"""What all commands share: one line and an exit status for every mistake."""

import os
import shlex
import signal
import subprocess
import sys

import pytest

from demitasse.proto.cli import OneLineParser, run_command
from demitasse.proto.errors import NetError, ShapeFault, Where, foreign, printable

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def raising(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize(
    "error, line",
    [
        (
            NetError("it is\n wrong", Where("net.prototxt", 3, 1), "'c' (Convolution)"),
            "net.prototxt:3:1: layer 'c' (Convolution): it is wrong",
        ),
        (FileNotFoundError(2, "No such file or directory", "a.txt"), "a.txt: No such file or directory"),
        (OSError(18, "Invalid cross-device link", "a", None, "b"), "a to b: Invalid cross-device link"),
        (OSError("stream closed"), "stream closed"),
        (MemoryError("Unable to allocate 2 TiB"), "not enough memory: Unable to allocate 2 TiB"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(error, line, capsys):
    assert run_command(raising(error)) == 2
    assert capsys.readouterr().err == line + "\n"


def test_other_statuses(capsys, monkeypatch):
    set_handlers = []
    monkeypatch.setattr(signal, "signal", lambda *pair: set_handlers.append(pair))
    assert run_command(lambda: None) == 0 and run_command(lambda: 1) == 1
    assert run_command(raising(KeyboardInterrupt())) == 130
    assert set_handlers == [(signal.SIGINT, signal.SIG_DFL)]  # a second one finds no Python code to interrupt
    assert capsys.readouterr().err == ""


def test_a_bug_is_raised_and_a_mistake_with_traceback_too():
    with pytest.raises(ZeroDivisionError):
        run_command(raising(ZeroDivisionError()))
    with pytest.raises(ShapeFault):
        run_command(raising(ShapeFault("x")), with_traceback=True)


def test_an_error_of_the_users_code_is_shown_from_there_on(capsys):
    def theirs():
        return 1 / 0

    def run():
        try:
            theirs()
        except Exception as error:
            error.layer_location = "net.prototxt:2:1: layer 'p' (Python)"
            raise foreign(error, "Mine.forward")  # noqa: B904

    assert run_command(run) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and lines[1].endswith("in theirs")
    assert lines[-1] == "net.prototxt:2:1: layer 'p' (Python): Mine.forward raised ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    "words, line",
    [
        (["strat"], "python -m x: unknown command 'strat' (did you mean 'start'?); known: start, stop"),
        (["start", "--nuber", "1"], "python -m x: start knows no --nuber (did you mean '--number'?)"),
        (["start", "--number", "one"], "argument --number: invalid int value: 'one'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_mistakes_in_the_command_line(words, line, capsys):
    parser = OneLineParser(prog="python -m x")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("start").add_argument("--number", type=int)
    commands.add_parser("stop")
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(words)
    err = capsys.readouterr().err
    assert stop.value.code == 2 and err.count("\n") == 1 and line in err


def run_module(words, redirections="", buffered=True, **options):
    """A command in a shell, in which its standard streams can be closed; Python's own buffers on or off."""
    environment = {**os.environ, "PYTHONPATH": ROOT, "PYTHONUNBUFFERED": "" if buffered else "1"}
    return subprocess.run(
        f"{shlex.join([sys.executable, '-m', *words])} {redirections}",
        shell=True,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("words", [["netdef", "types"], ["solver", "device_query"]])
def test_an_output_that_takes_nothing(words, buffered):
    """Not at Python's exit either, when it flushes its buffers once more."""
    result = run_module(words, ">/dev/full", buffered)
    assert (result.returncode, result.stderr) == (2, "standard output: No space left on device\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_help_that_cannot_be_written():
    result = run_module(["netdef", "--help"], ">/dev/full")
    assert (result.returncode, result.stderr) == (2, "standard output: No space left on device\n")


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    "redirections, words, status, out, err",
    [
        (">&-", ["types"], 2, "", "standard output: it is closed: there is nowhere to write to\n"),
        ("<&- >&-", ["types"], 2, "", "standard output: it is closed: there is nowhere to write to\n"),
        (">&- 2>&-", ["types"], 2, "", ""),
        ("2>&-", ["show", "none.prototxt"], 2, "", ""),
        ("2>/dev/full", ["show", "none.prototxt"], 2, "", ""),
        ("<&- 2>&- | head -n 1", ["types"], 0, "AbsVal", ""),
    ],
)
def test_streams_that_are_closed(redirections, words, status, out, err, buffered):
    result = run_module(["netdef", *words], redirections, buffered)
    assert (result.returncode, result.stderr) == (status, err) and result.stdout.startswith(out)
    assert bool(result.stdout) == bool(out)


@pytest.mark.skipif(os.name != "posix", reason="file descriptors are inherited on POSIX systems")
def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path):
    code = (
        "import sys; from demitasse.proto.cli import run_command\n"
        "def run(): sys.exit(open(sys.argv[1], 'w').fileno())\n"
        "run_command(run)"
    )
    for closed in ("2>&-", "<&- >&- 2>&-"):
        command = shlex.join([sys.executable, "-c", code, str(tmp_path / "file")])
        done = subprocess.run(f"{command} {closed}", shell=True, env={**os.environ, "PYTHONPATH": ROOT}, timeout=60)
        assert done.returncode > 2


def test_what_would_steer_the_terminal_is_written_out(capsys):
    assert run_command(raising(NetError("layer \x1b[31mred\x07\x9b\x00"))) == 2
    assert capsys.readouterr().err == "layer \\x1b[31mred\\x07\\x9b\\x00\n"


def test_names_that_the_terminal_cannot_show(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "\u00e9" type: "Input" top: "\u4e00" input_param { shape { dim: 1 } } }\n', encoding="utf-8"
    )
    result = subprocess.run(
        [sys.executable, "-m", "netdef", "show", str(tmp_path / "net.prototxt")],
        cwd=ROOT,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert result.returncode == 0 and "\\xe9" in result.stdout and "\\u4e00" in result.stdout


def test_what_steers_a_terminal_is_spelled_out():
    assert printable("a\x1b[31m\n\t\x9b\u202e\u2028") == "a\\x1b[31m\\n\\t\\x9b\\u202e\\u2028"
    assert printable("conv1 'é漢' \\ ") == "conv1 'é漢' \\ "
