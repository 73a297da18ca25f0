"""`python -m models list` and `write`: the nets of models/recipes.py as prototxt files."""

from __future__ import annotations

from pathlib import Path

from models import demo_net, recipes
from models.files import write_text


def add_to(commands) -> None:
    parser = commands.add_parser("list", help="the nets that there are")
    parser.set_defaults(run=show)
    parser = commands.add_parser("write", help="write a net's train, test, deploy and solver prototxts")
    parser.add_argument("name", help="a net of `list`, all of them, or demo")
    parser.add_argument("out", type=Path, help="the folder to write to; each net gets a folder in it")
    parser.add_argument("--classes", type=int, help="another number of classes (one head only)")
    parser.add_argument("--width", type=float, default=1.0, help="multiply all channel counts of the trunk")
    parser.add_argument("--data", default="data", help="the folder of the data sets (default: data)")
    parser.add_argument("--random", action="store_true", help="with fillers, to train from random weights")
    parser.set_defaults(run=run)


def show(options) -> None:
    for name, recipe in recipes.NETS.items():
        print(f"{name:24} {recipe.about}")


def run(options) -> None:
    if options.name == "demo":
        for name, words in demo_net.files().items():
            write_text(options.out / "demo" / name, words)
            print(options.out / "demo" / name)
        return
    names = recipes.NETS if options.name == "all" else [options.name]
    for name in names:
        for path in recipes.write(name, options.out, root=options.data, classes=options.classes, width=options.width,
                                  random=options.random):
            print(path)
