"""Sizes for a net whose data is not there, so that a published net can be shown, drawn and converted all the same.

Neither its fields nor its files tell what such a data layer makes.  Its first top is taken for images: of the sizes
that published nets have, the first at which every layer fits.  Whatever else it makes (labels, targets, masks) gets the
shape that the first layer to read it accepts: one number for each item, or what it is compared with.  One warning says
what was assumed.  A net that is to run never comes here: it needs its data.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from demitasse.layers.layer import Shape, layer_class
from demitasse.netdef.graph import Step, Value
from demitasse.netdef.inputs import as_input
from demitasse.netdef.params import bind_params
from demitasse.netdef.wording import shape_text
from demitasse.proto.errors import GraphFault, ShapeFault
from demitasse.proto.input_paths import MissingFile
from demitasse.proto.warning import warn

SIDES = [(side, side) for side in (224, 227, 256, 299, 321, 416, 512, 64, 48, 32, 28, 24, 12)] + [(32, 100), (32, 128)]
IMAGES = [(channels, *sides) for channels, sides in itertools.product((3, 1, 2, 6), SIDES)]  # pairs are 2 or 6


def assume_sizes(steps: Sequence[Step], set_up: Callable[[Step], None], missing: MissingFile) -> None:
    """Set up all steps, with Input layers in the place of data layers whose files are not there.

    set_up: sets a layer up from the shapes of its bottoms.  missing: raised again where no image size fits, or where
    something else is wrong with the net.
    """
    absent, others = _absent(steps, set_up)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fits = any(_fits(absent, others, set_up, image) for image in IMAGES)
    except Exception:  # whatever it is, it comes after the data that is not there
        fits = False
    if not fits:
        raise missing
    for step in absent:
        step.spec = as_input(step.spec, [top.shape for top in step.tops])
        step.cls, step.is_input = layer_class(step.spec.type), True
    for step in steps:
        if step in absent or step.bottoms:
            set_up(step)
    made = ", ".join(f"{top.name} {shape_text(top.shape)}" for step in absent for top in step.tops)
    option = f"--input {absent[0].tops[0].name}={shape_text(absent[0].tops[0].shape)}"
    warn(f"'{missing.path}' is not there: the net is sized as if its data were {made}; for other sizes: {option}")


def _absent(steps: Sequence[Step], set_up: Callable[[Step], None]) -> tuple[list[Step], list[Step]]:
    """(data layers whose files are not there, all layers that have bottoms); those that are in neither are set up."""
    absent = []
    for step in steps:
        if not step.bottoms:
            try:
                set_up(step)
            except MissingFile:
                absent.append(step)
    return absent, [step for step in steps if step.bottoms]


def _fits(absent: Sequence[Step], others: Sequence[Step], set_up: Callable[[Step], None], image: Shape) -> bool:
    """Whether all other layers take what follows from images (C, H, W) of the absent ones, whose tops' shapes are
    settled then."""
    batch = max(_batch_size(step) for step in absent)
    open_tops = {top for step in absent for top in step.tops}
    for top in open_tops:
        top.shape = (batch,)
    absent[0].tops[0].shape = (batch, *image)
    open_tops.remove(absent[0].tops[0])
    try:
        for step in others:
            unknown = [value for value in dict.fromkeys(step.bottoms) if value in open_tops]
            if unknown:
                _settle(step, unknown, set_up, (batch, *image))
                open_tops.difference_update(unknown)
            set_up(step)
        bind_params(others)
    except (ShapeFault, GraphFault):
        return False
    return True


def _settle(step: Step, unknown: Sequence[Value], set_up: Callable[[Step], None], image: Shape) -> None:
    """Give the unknown bottoms of a layer the first shapes that it takes; the last ones tried where it takes none."""
    known = [value.shape for value in step.bottoms if value not in unknown]
    choices = list(dict.fromkeys(_choices(known, image)))
    for shapes in itertools.product(choices, repeat=len(unknown)):
        for value, shape in zip(unknown, shapes, strict=True):
            value.shape = shape
        with suppress(ShapeFault):
            set_up(step)
            return


def _choices(known: Sequence[Shape], image: Shape) -> Iterator[Shape]:
    """What a bottom may be beside others of known shapes."""
    yield image[:1]
    for shape in known:
        if len(shape) > 2:
            yield image[0], 1, *shape[2:]
        yield shape
    yield image


def _batch_size(step: Step) -> int:
    """What the fields of a data layer say, or 1."""
    sizes = [getattr(value, "batch_size", 0) for _, value in step.spec.ListFields()]
    return max([1, *(size for size in sizes if isinstance(size, int))])
