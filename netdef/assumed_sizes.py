"""Sizes for a net whose data is not there, so that a published net can be shown, drawn and converted all the same.

Neither its fields nor its files tell what such a data layer makes.  Its first top is taken for images: of the sizes
that published nets have, the first at which every layer fits.  Whatever else it makes (labels, targets, masks) gets the
shape that the first layer to read it accepts: one number for each item, or what it is compared with.  One warning says
what was assumed.  A net that is to run never comes here: it needs its data.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

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
    told = {top: shape for step, shapes in absent.items() for top, shape in zip(step.tops, shapes, strict=False)}
    first = next(iter(absent)).tops[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            images = [told[first][1:]] if first in told else IMAGES
            fits = any(_Trial(list(absent), set_up, image, told).fits(others) for image in images)
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
    option = f"--input {first.name}={shape_text(first.shape)}"
    warn(f"'{missing.path}' is not there: the net is sized as if its data were {made}; for other sizes: {option}")


def _absent(steps: Sequence[Step], set_up: Callable[[Step], None]) -> tuple[dict[Step, Sequence[Shape]], list[Step]]:
    """(data layers whose files are not there, with the shapes that their fields tell; all layers that have bottoms);
    those that are in neither are set up."""
    absent = {}
    for step in steps:
        if not step.bottoms:
            try:
                set_up(step)
            except MissingFile as missing:
                absent[step] = missing.told
    return absent, [step for step in steps if step.bottoms]


class _Trial:
    """One image size (C, H, W) tried on a net; told: the shapes that are known of the absent layers' tops."""

    def __init__(
        self, absent: Sequence[Step], set_up: Callable[[Step], None], image: Shape, told: Mapping[Value, Shape]
    ):
        self.set_up = set_up
        self.image = max(_batch_size(step) for step in absent), *image
        known = {absent[0].tops[0]: self.image, **told}
        tops = [top for step in absent for top in step.tops]
        for top in tops:
            top.shape = known.get(top, self.image[:1])
        self.roots = [top for top in tops if top not in known]  # what these are is to be found
        self.open = set(self.roots)  # values without a shape yet
        self.waiting: list[Step] = []  # layers that read nothing else

    def fits(self, layers: Sequence[Step]) -> bool:
        """Whether all layers take what follows from the image; the absent layers' tops have their shapes then."""
        try:
            for step in layers:
                unknown = [value in self.open for value in step.bottoms]
                if all(unknown):
                    self.waiting.append(step)
                    self.open.update(step.tops)
                elif any(unknown):
                    self._settle(step)
                else:
                    self.set_up(step)
            while self.waiting:
                self._settle(self.waiting[-1])
            bind_params(layers)
        except (ShapeFault, GraphFault):
            return False
        return True

    def _settle(self, step: Step) -> None:
        """Find shapes of what a layer reads, which it takes, and what makes them; ShapeFault where there are none."""
        roots, makers = self._sources(step)
        known = [value.shape for value in step.bottoms if value not in self.open]
        fault: ShapeFault | None = None
        for shapes in itertools.product(dict.fromkeys(_choices(known, self.image)), repeat=len(roots)):
            for value, shape in zip(roots, shapes, strict=True):
                value.shape = shape
            try:
                for each in makers:
                    self.set_up(each)
            except ShapeFault as found:
                fault = found
            else:
                self.waiting = [each for each in self.waiting if each not in makers]
                self.open.difference_update(roots, *(each.tops for each in makers))
                return
        raise fault or ShapeFault("nothing fits")

    def _sources(self, step: Step) -> tuple[list[Value], list[Step]]:
        """(the roots that a layer depends on, the waiting layers between, in order, and itself)."""
        makers, seen = {step}, list(step.bottoms)
        for value in seen:
            if value.producer in self.waiting and value.producer not in makers:
                makers.add(value.producer)
                seen.extend(value.producer.bottoms)
        roots = [root for root in self.roots if root in self.open and root in seen]
        return roots, sorted(makers, key=lambda each: each.index)


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
