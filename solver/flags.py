"""The options of python -m solver, in today's spelling and in Caffe's (-solver x, --solver=x, -gpu 0)."""

from __future__ import annotations

import argparse
import re
from typing import Any

from demitasse.proto.cli import OneLineParser, add_device_options
from demitasse.proto.errors import SolverFault
from demitasse.proto.option_values import integer, whole_number
from demitasse.solver.precision import VERSIONS

GLOG_FLAGS = re.compile(r"--?(alsologtostderr|logtostderr|minloglevel|log_dir|v)(=.*)?$")


def _train_options(parser) -> None:
    parser.add_argument("file", nargs="?", metavar="SOLVER", help="the solver's prototxt")
    parser.add_argument("-solver", "--solver", metavar="SOLVER", help="the same")
    parser.add_argument("-weights", "--weights", metavar="W,...", help="files to start from, joined by commas")
    parser.add_argument("-snapshot", "--snapshot", metavar="STATE", help="a .solverstate[.h5] to go on from")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="in the place of a field of the solver, as in base_lr=1e-4 (as often as there are fields)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest whole snapshot at the solver's snapshot_prefix"
    )
    parser.add_argument(
        "--keep-best", default="", metavar="METRIC", help="keep the snapshot of the best test: mean_iu, loss, an output"
    )
    parser.add_argument(
        "--keep-last", type=whole_number, default=0, metavar="N", help="remove snapshots but the newest N and the best"
    )
    parser.add_argument(
        "--stop-after", type=whole_number, default=0, metavar="N", help="end after N tests without a better METRIC"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what an earlier run has left: its snapshots at snapshot_prefix, and its log",
    )
    parser.add_argument(
        "-iterations", "--iterations", type=whole_number, metavar="N", help="at most N of them in this run"
    )
    parser.add_argument(
        "--bilinear", action="store_true", help="start all-zero Deconvolutions with lr_mult 0 as bilinear upsampling"
    )
    parser.add_argument(
        "--seed", type=integer, metavar="N", help="instead of the solver's random_seed (below 0: another each time)"
    )
    parser.add_argument("--log", metavar="FILE", help="write a JSON object per event into FILE (.jsonl)")
    parser.add_argument("--plot", metavar="FILE", help="draw the loss into FILE (.png)")
    parser.add_argument("--tensorboard", metavar="DIR", help="write scalars for TensorBoard into DIR")
    for name, default in (("sigint", "stop"), ("sighup", "snapshot")):
        parser.add_argument(
            f"-{name}_effect",
            f"--{name}_effect",
            default=default,
            metavar="EFFECT",
            help=f"stop, snapshot or none (default: {default})",
        )


def _lr_range_options(parser) -> None:
    parser.add_argument("file", nargs="?", metavar="SOLVER", help="the solver's prototxt")
    parser.add_argument("-solver", "--solver", metavar="SOLVER", help="the same")
    parser.add_argument("-weights", "--weights", metavar="W,...", help="files to start from, joined by commas")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="in the place of a field")
    parser.add_argument(
        "--bilinear", action="store_true", help="start all-zero Deconvolutions with lr_mult 0 as bilinear upsampling"
    )
    parser.add_argument("--low", type=float, metavar="RATE", help="the first rate (default: base_lr / 1000)")
    parser.add_argument("--high", type=float, metavar="RATE", help="the last rate (default: base_lr * 1000)")
    parser.add_argument(
        "-iterations", "--iterations", type=whole_number, default=100, metavar="N", help="of them (default: 100)"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the loss over the rate into FILE (.png)")


def _test_options(parser) -> None:
    _net_options(parser, 50)
    parser.add_argument("-weights", "--weights", metavar="W,...", help="the weights to test, joined by commas")
    parser.add_argument(
        "-ap_version",
        "--ap-version",
        choices=VERSIONS,
        default="Integral",
        help="how the average precision of DetectionEvaluate's boxes is computed (default: %(default)s)",
    )


def _time_options(parser) -> None:
    _net_options(parser, 10)
    parser.add_argument("-phase", "--phase", default="TRAIN", metavar="PHASE", help="TRAIN (default) or TEST")


def _net_options(parser, iterations: int) -> None:
    parser.add_argument("file", nargs="?", metavar="NET", help="the net's prototxt")
    parser.add_argument("-model", "--model", metavar="NET", help="the same")
    parser.add_argument(
        "-iterations",
        "--iterations",
        type=whole_number,
        default=iterations,
        metavar="N",
        help=f"batches to run (default: {iterations})",
    )


def _device_options(parser) -> None:
    add_device_options(parser, None)
    parser.add_argument("-gpu", "--gpu", metavar="N", help="Caffe's word for --device gpu:N")
    parser.add_argument(
        "--auto-crop", action="store_true", help="compute the offset of every Crop that has no crop_param"
    )
    parser.add_argument("-level", "--level", type=integer, default=0, metavar="N", help="the level of the net's state")
    parser.add_argument("-stage", "--stage", default="", metavar="S,...", help="the stages of the net's state")


COMMANDS = {
    "train": (_train_options, "train a net"),
    "lr_range": (_lr_range_options, "try rates from small to large and propose one"),
    "test": (_test_options, "run a net in its TEST phase"),
    "time": (_time_options, "time every layer of a net"),
    "device_query": (lambda parser: None, "say what there is to compute on"),
}


def add_commands(commands: Any) -> None:
    """Add every command with its options to an argparse group of commands."""
    for name, (add_options, help_text) in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        add_options(command)
        _device_options(command)
        command.add_argument("--traceback", action="store_true", help="show where in the code a fault was found")


def parse(arguments: list[str], program: str = "python -m solver") -> argparse.Namespace:
    """The options of a command line; one line on stderr and exit status 2 where it makes no sense.

    program: how it was called, for messages.
    """
    parser = OneLineParser(prog=program, description="Train, test and time Caffe nets.")
    add_commands(parser.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    options = parser.parse_args([word for word in arguments if not GLOG_FLAGS.match(word)])
    options.program = program
    return options


def finish(options: argparse.Namespace, default_threads: int | None) -> None:
    """Put what several flags say into one: file, device, stages, threads.  SolverFault where they contradict."""
    options.device = _device(options)
    options.stages = [stage for stage in options.stage.split(",") if stage]
    options.threads = options.threads or default_threads
    if options.command in ("train", "lr_range"):
        options.file = _one(options.file, options.solver, f"a solver: {options.program} {options.command} SOLVER")
    elif options.command != "device_query":
        options.file = _one(options.file, options.model, f"a net: {options.program} {options.command} NET")


def _one(positional: str | None, flag: str | None, what: str) -> str:
    if positional and flag:
        raise SolverFault(f"two files are given, {positional} and {flag}: give one")
    if given := positional or flag:
        return given
    raise SolverFault(f"give {what}")


def _device(options) -> str | None:
    if options.gpu is None:
        return options.device
    if options.device:
        raise SolverFault(f"--device {options.device} and --gpu {options.gpu} are both given: give one")
    if options.gpu.isdigit():
        return f"gpu:{options.gpu}"
    count = "N" if options.gpu == "all" else len(options.gpu.split(","))
    raise SolverFault(
        f"--gpu {options.gpu}: each process trains on one GPU; for several, "
        f"mpirun -n {count} {options.program} train ... --device gpu"
    )
