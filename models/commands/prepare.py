"""`python -m models prepare`: weights and data made ready: surgery as commands.

prepare vgg16-fcn VGG16.caffemodel vgg16-fcn.caffemodel             a classifier, made convolutional
prepare interp deploy.prototxt old.caffemodel new.caffemodel        fixed Deconvolutions interpolate
prepare classes deploy.prototxt old.caffemodel new.caffemodel --take 0,7,-,15
prepare rgbd vgg16-fcn.caffemodel rgbd.caffemodel                   a first layer with one more input channel
prepare fuse deploy.prototxt both.caffemodel color=a.caffemodel hha=b.caffemodel
prepare labels COLOURED OUT                                         coloured label pictures to class indices
prepare labels MASKS OUT --strip=_mask --map 255=1                  black-and-white masks to classes 0 and 1
prepare demo                                                        the drawn scenes of models/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from demitasse.models import surgery
from demitasse.models.base_weights import BASES, make_base
from demitasse.models.commands import arguments
from demitasse.models.label_conversion import Conversion, convert_folder, read_colours, read_map
from demitasse.proto.cli import progress
from demitasse.proto.errors import SchemaFault, WeightsFault
from demitasse.proto.files import make_folder
from demitasse.proto.option_values import whole_number
from demitasse.proto.weights import read_weights, write_weights


def add_to(commands) -> None:
    """The command `prepare` and its options."""
    about = "make weights and data ready: surgery, labels, the demo's scenes"
    examples = __doc__.split("\n\n")[1]
    parser = arguments.add_command(
        commands,
        "prepare",
        about,
        description=f"{about}\n\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tasks = parser.add_subparsers(required=True, metavar="TASK", title="tasks")
    for name, (_, classifier) in BASES.items():
        task = _task(tasks, name, base, f"{classifier}'s weights for a fully convolutional net", "source", "out")
        arguments.add_width(task)
        task.set_defaults(base=name)
    _task(tasks, "interp", interp, "give fixed Deconvolutions bilinear weights", "net", "source", "out")
    task = _task(tasks, "classes", classes, "score layers for other classes", "net", "source", "out")
    task.add_argument(
        "--take",
        required=True,
        metavar="I,-,...",
        help="for each new class the old one it starts as, or - to start from zero",
    )
    task = _task(tasks, "rgbd", rgbd, "a first layer with more input channels", "source", "out")
    task.add_argument("--layer", default="conv1_1", metavar="NAME", help="the first one (default: conv1_1)")
    task.add_argument("--rename", default="conv1_1_bgrd", metavar="NAME", help="its new name (default: conv1_1_bgrd)")
    task.add_argument("--channels", type=whole_number, default=1, metavar="N", help="how many more (default: 1)")
    task = _task(tasks, "fuse", fuse, "one net's weights from those of several, by suffix", "net", "out")
    task.add_argument(
        "parts", nargs="+", metavar="SUFFIX=WEIGHTS", help="weights, and what their layers' names end in here"
    )
    _add_labels(tasks)
    task = _task(tasks, "demo", demo, "draw the scenes of models/demo")
    task.add_argument("--out", default="", metavar="DIR", help="where to (default: models/demo/data)")


def _add_labels(tasks) -> None:
    task = _task(
        tasks, "labels", labels, "label pictures of any kind to palette PNGs of class indices", "source", "out"
    )
    task.add_argument("--colours", metavar="FILE", help="lines `R G B [name]`, class 0 first (default: VOC's colours)")
    task.add_argument("--others", action="store_true", help="colours that are no class become 255, not a fault")
    task.add_argument(
        "--values", action="store_true", help="take the stored values, not the colours that they are shown in"
    )
    task.add_argument(
        "--map", default="", metavar="V=C,...", help="value V becomes class C, such as 255=1; others stay as they are"
    )
    task.add_argument(
        "--threshold", type=whole_number, metavar="V", help="values from V on become 1, those below 0 (blurred masks)"
    )
    task.add_argument(
        "--strip", default="", metavar="END", help="take END off the names: --strip=_mask makes a_mask.png a.png"
    )
    task.add_argument("--overwrite", action="store_true", help="replace files that are in OUT already")


def _task(tasks, name: str, function, about: str, *positions: str) -> argparse.ArgumentParser:
    words = {"net": "the prototxt that the weights are for", "source": "what there is", "out": "what to write"}
    task = arguments.add_command(tasks, name, about)
    for position in positions:
        task.add_argument(position, metavar=position.upper(), help=words[position])
    task.set_defaults(run=function)
    return task


def base(options) -> None:
    """A classifier's weights, made convolutional."""
    weights, report = make_base(options.base, options.source, options.width)
    print(report)
    _write(options.out, weights, options.source)


def interp(options) -> None:
    """The weights with every fixed Deconvolution made bilinear.  WeightsFault where the net has none."""
    layers = surgery.upsampling_layers(options.net)
    if not layers:
        raise WeightsFault(f"{options.net}: has no Deconvolution with lr_mult 0")
    made = surgery.interp(surgery.param_shapes(options.net), layers)
    print(f"bilinear: {', '.join(made)}")
    _write(options.out, {**read_weights(options.source), **made}, options.source)


def classes(options) -> None:
    """Score layers (and what upsamples their scores) that differ from the net's get the net's number of classes.

    WeightsFault where there is nothing to change.
    """
    take = [None if word.strip() == "-" else _index(word) for word in options.take.split(",")]
    shapes, fixed = surgery.param_shapes(options.net), set(surgery.upsampling_layers(options.net))
    made, changed = {}, []
    for name, arrays in read_weights(options.source).items():
        wanted = shapes.get(name)
        if wanted is None or all(a.size == np.prod(s) for a, s in zip(arrays, wanted, strict=False)):
            made[name] = arrays
        elif name in fixed:
            made[name] = surgery.interp(shapes, [name])[name]
            changed.append(name)
        else:
            made[name] = surgery.change_classes(arrays, take)
            changed.append(name)
            if [a.size for a in made[name]] != [int(np.prod(s)) for s in wanted]:
                raise WeightsFault(
                    f"layer '{name}' has arrays {[a.shape for a in made[name]]} with --take "
                    f"{options.take} ({len(take)} classes), but {options.net} needs {wanted}"
                )
    if not changed:
        raise WeightsFault(f"{options.source}: every layer has the sizes that {options.net} needs already")
    print(f"changed: {', '.join(changed)}")
    _write(options.out, made, options.source)


def rgbd(options) -> None:
    """The weights with a first layer of more input channels.  WeightsFault where there is no such layer."""
    weights = read_weights(options.source)
    if options.layer not in weights:
        raise WeightsFault(
            f"{options.source}: has no layer '{options.layer}'; give --layer: it begins with "
            f"{', '.join(list(weights)[:3])}"
        )
    made = {
        options.rename if name == options.layer else name: surgery.add_channels(arrays, options.channels)
        if name == options.layer
        else arrays
        for name, arrays in weights.items()
    }
    print(f"{options.layer} {weights[options.layer][0].shape} is now {options.rename} {made[options.rename][0].shape}")
    _write(options.out, made, options.source)


def fuse(options) -> None:
    """One net's weights from several nets', by suffix.  SchemaFault for a part without a suffix."""
    parts = [part.partition("=")[::2] for part in options.parts]
    if any(not path for _, path in parts):
        raise SchemaFault(f"{' '.join(options.parts)}: give each part as SUFFIX=WEIGHTS, such as color=a.caffemodel")
    made, report = surgery.late_fusion(options.net, {suffix: read_weights(path) for suffix, path in parts})
    print("\n".join(f"{suffix}: {lines}" for suffix, lines in report.items()))
    _write(options.out, made, *(path for _, path in parts))


def labels(options) -> None:
    """Every picture of a folder; what is no class is a fault with its pixel."""
    convert_folder(
        Path(options.source),
        Path(options.out),
        Conversion(
            colours=read_colours(options.colours) if options.colours else None,
            others=options.others,
            values=options.values,
            mapped=read_map(options.map),
            threshold=options.threshold,
        ),
        strip=options.strip,
        overwrite=options.overwrite,
        progress=lambda items: progress(items, len(items)),
    )


def demo(options) -> None:
    """The scenes of models/demo, drawn."""
    from demitasse.models.data import scene_layers, scenes

    folder = scenes.write(
        options.out or scene_layers.FOLDER,
        scene_layers.TRAIN,
        scene_layers.VAL,
        scene_layers.SIZE,
        progress=lambda names: progress(names, unit="scene"),
    )
    print(f"{scene_layers.TRAIN} scenes to train on and {scene_layers.VAL} to test in {folder}")


def _index(word: str) -> int:
    if not word.strip().isdigit():
        raise SchemaFault(f"--take: '{word}' is neither a class's number nor -")
    return int(word)


def _write(out: str, weights: surgery.Weights, *sources: str) -> None:
    for source in sources:
        if Path(out).exists() and Path(source).exists() and Path(out).samefile(source):
            raise WeightsFault(f"{out}: is what is read: write to another file")
    make_folder(Path(out).parent)
    write_weights(out, weights)
    values = sum(array.size for arrays in weights.values() for array in arrays)
    print(f"wrote {out}: {len(weights)} layers, {values} values")
