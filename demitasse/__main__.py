"""demitasse COMMAND ...: every command of the project by one name, whatever modules the working directory holds.

Each command belongs to one of three packages, which parse its options; `python -m solver`, `python -m netdef` and
`python -m models` are older doors to the same commands.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping

from demitasse import __version__
from demitasse.completion import script
from demitasse.proto.cli import run_command
from demitasse.proto.errors import did_you_mean

# command: (package, the package's own name for it, what it does)
COMMANDS = {
    "train": ("solver", "train", "train a net by its solver's prototxt"),
    "lr_range": ("solver", "lr_range", "try learning rates from small to large, and propose one"),
    "test": ("solver", "test", "run a net in its TEST phase"),
    "time": ("solver", "time", "time every layer of a net"),
    "device_query": ("solver", "device_query", "say what there is to compute on"),
    "show": ("netdef", "show", "a table of a net's sizes, params, costs and Crop offsets"),
    "draw": ("netdef", "draw", "a picture of a net"),
    "upgrade": ("netdef", "upgrade", "bring a net, a solver or a .caffemodel to today's form"),
    "convert": ("netdef", "convert", "weights of any format to another; nets to ONNX"),
    "diff": ("netdef", "diff", "compare two nets or two weights files"),
    "types": ("netdef", "types", "all layer types"),
    "list": ("models", "list", "the nets of the FCN family"),
    "write": ("models", "write", "write a net's train, test, deploy and solver prototxts"),
    "prepare": ("models", "prepare", "make weights and data ready"),
    "check": ("models", "check", "look for what would stop a training on own images and labels"),
    "recipe": ("models", "recipe", "run a net's recipe: every stage, each from the last one's weights"),
    "score": ("models", "score", "score a net on the split that its data layer names"),
    "segment": ("models", "segment", "label every pixel of images"),
    "detect": ("models", "detect", "find objects in images: boxes, classes, scores"),
    "report": ("models", "report", "a page about a run: curve, scores, best and worst images"),
    "compare": ("models", "compare", "what differs between runs: settings, scores, curves"),
    "convert_imageset": ("models", "convert_imageset", "write the images of a listing to an LMDB or LevelDB"),
    "convert_annoset": ("models", "convert_annoset", "write images and boxes of XML files to a database for SSD"),
    "compute_image_mean": ("models", "compute_image_mean", "the mean image of a database"),
    "extract_features": ("models", "extract_features", "write blobs of a net that reads data to databases"),
}
# Names of Caffe's tools, and words of other frameworks, for what a command does.
ELSEWHERE = {
    "draw_net": "draw",
    "upgrade_net_proto_text": "upgrade",
    "upgrade_net_proto_binary": "upgrade",
    "upgrade_solver_proto_text": "upgrade",
    "eval": "score",
    "evaluate": "score",
    "predict": "segment",
    "infer": "segment",
    "export": "convert",
    "fit": "train",
    "summary": "show",
    "benchmark": "time",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit status: 0 done, 1 where it says so, 2 a mistake (one line on stderr), 130 Ctrl-C."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["help"] and len(given) > 1:
        return main([*given[1:], "--help"])
    if not given or given[0] in ("-h", "--help", "help"):
        return _show(_help()) or (0 if given else 2)
    if given[0] in ("-V", "--version", "version"):
        return _show(f"demitasse {__version__}")
    if given[0] == "--print-completion":
        return print_completion("demitasse", COMMANDS, given[1:])
    if given[0] in ELSEWHERE:
        return _refuse(f"demitasse: '{given[0]}' is called {ELSEWHERE[given[0]]} here: demitasse {ELSEWHERE[given[0]]}")
    if given[0] not in COMMANDS:
        known = f"{did_you_mean(given[0], COMMANDS)}; known: {', '.join(COMMANDS)}"
        return _refuse(f"demitasse: unknown command '{given[0]}'{known}")
    package, command, _ = COMMANDS[given[0]]
    run = importlib.import_module(f"demitasse.{package}.__main__").main
    return run([command, *given[1:]], "demitasse")


def print_completion(program: str, commands: Mapping[str, tuple[str, str, str]], shell: list[str]) -> int:
    """Print what makes a shell complete a program's command lines; 2 where that cannot be."""
    return run_command(lambda: print(script(program, commands, shell[0] if shell else "(none)")))


def caffe(arguments: list[str] | None = None) -> int:
    """The command `caffe`: those of Caffe's own."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["--print-completion"]:
        own = {name: entry for name, entry in COMMANDS.items() if entry[0] == "solver"}
        return print_completion("caffe", own, given[1:])
    if given[:1] in (["--version"], ["-version"]):
        return main(["version"])
    other = ELSEWHERE.get(given[0], given[0]) if given else ""
    if other in COMMANDS and COMMANDS[other][0] != "solver":
        return _refuse(f"caffe: {given[0]} is a command of demitasse: demitasse {other}")
    return importlib.import_module("demitasse.solver.__main__").main(given, "caffe")


def _refuse(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def _show(text: str) -> int:
    """Print a text, of which `| head` may take a part only; the exit status."""
    return run_command(lambda: print(text))


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {about}" for name, (_, _, about) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: demitasse COMMAND ...   (demitasse COMMAND --help lists its options)",
            "       demitasse --version | --print-completion bash|zsh|tcsh",
            "",
            *lines,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
