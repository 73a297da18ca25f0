"""What a layer is: shapes to shapes, arrays to arrays, gradients back; and the learned arrays it owns.

A layer sees no names, files, blobs or other layers.  Its life:

    layer = Convolution(spec, phase, backend)
    layer.params = layer.setup(bottom_shapes)   once: check fields, declare what is learned
    top_shapes = layer.infer(bottom_shapes)     integers only; for every new set of sizes; writes nothing
    tops = layer.forward(bottoms)               never writes bottoms; keeps in `saved` what backward needs
    grads = layer.backward(top_grads, need)     adds to params[i].grad; None where need[i] is False

After setup and infer have passed, forward and backward check nothing.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from demitasse.layers import modules
from demitasse.proto import layer_scan
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import LossParameter
from demitasse.proto.name_hints import fork_hint, type_hint

if TYPE_CHECKING:
    from demitasse.layers.affine import Affine
    from demitasse.layers.data.feed import Stream

Shape = tuple[int, ...]
Array = Any
TRAIN, TEST = 0, 1
SAME_COORDS = (None, (1.0,), (0.0,))  # the map of a layer that moves nothing, whatever its axes are

_classes: dict[str, type[Layer]] = {}


class Param:
    """A learned array: value, gradient, and how strongly the solver's rate and decay act on it.

    `data` and `grad` stay None until the net allocates them, so that a net can be sized and drawn without taking
    memory.  `filler` is a FillerParameter, or None for zeros.
    """

    exchanged, _counter = -1, itertools.count()  # of the class: another number after any param got another array

    def __init__(self, shape: Shape, filler=None):
        self.shape = tuple(int(n) for n in shape)
        self.filler = filler
        self.data: Array = None
        self.grad: Array = None
        self.name = ""  # shared with every other param of the same non-empty name
        self.lr_mult = self.decay_mult = 1.0

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name in ("data", "grad"):
            Param.exchanged = next(Param._counter)

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self.shape)


class Layer:
    """The base of all layer types; a subclass with a `type` registers itself."""

    type = ""
    fields: tuple[str, ...] = ()  # messages of its LayerParameter that it reads beside the one of its type's name
    bottoms: tuple[int, int | None] = (1, 1)  # least and most; None: any number
    tops: tuple[int, int | None] = (1, 1)
    same_count = False  # as many tops as bottoms (Convolution and its like)
    is_loss = False  # loss_weight 1 unless given; a missing top is made
    never_differentiable: tuple[int, ...] = ()  # bottoms that take no gradient (labels)
    ignores = ""  # of losses and metrics: the field whose ignore_label marks pixels that do not count
    in_place = False  # whether a prototxt may name the same blob as bottom and top
    shapes_from_data, varying_axis = False, 0  # True: infer gives the largest tops, this axis of theirs varies (Filter)
    shapes_vary = False  # True: infer may answer otherwise for equal shapes, and is asked before every run (Python)
    # What it can do for those who run it, who ask for this and never for its type:
    given_by_user = False  # its tops are arrays that the user gives: it does not run (Input)
    takes_nhwc = takes_repeated = False  # only primitives see its arrays: channels-last; without repeated lines
    fuses_relu = False  # forward and backward take `relu`, the slope (0 or more) of a ReLU to apply to the tops at once
    relu_slope: float | None = None  # the slope for negative values, of a layer that is a ReLU and no more
    is_prelu = False  # relu_slope is an array, () or (C,): learned
    fuses_affine = False  # forward takes `affine`, an Affine to apply to its only top, and for `relu` such an array
    fuses_residual = False  # forward takes `residual`, an array to add to its only top before a ReLU
    is_sum = False  # its top is the sum of its bottoms, as they are
    is_affine = False  # its forward is the Affine of all channels that affine() gives, at this moment
    writes_into = False  # forward takes `out`, a flat array to write its only top into, or None
    joins_along: int | None = None  # the axis along which its top is its bottoms in a row: not copied if they lie so
    crops = False  # it cuts bottom 0 to bottom 1 by crop_param, whose offset follows from the coordinates of both
    keeps_pixels = False  # its pixels are its bottoms', though pycaffe's scripts know no map of it
    multiplies = False  # its first param multiplies the bottom: where that is all zero, the top is constant
    upsamples = False  # its weights may be fixed ones that interpolate
    takes_softmax = False  # of losses: bottom 0 holds scores, whose softmax it compares with the labels of bottom 1
    launches_only = False  # at equal sizes it launches the same, and the host sees no values (not inherited)
    repeatable = True  # forward would give the same once more, and leaves nothing behind: it draws and counts nothing
    runs_user_code = False  # it hands on what it is asked to `user`, an object of a user's class
    drawn_as = ""  # what kind of box it is in a drawing: filter, upsampling, pooling, crop or join
    finds_boxes = False  # its top is boxes found: rows (image, class, score, x1, y1, x2, y2), in shares of the image
    judges_boxes = False  # its top says of boxes whether they are right, of which average precision is made
    later_tops_send = True  # False: what a script writes into the diffs of tops after the first has no effect (Caffe's)
    folder = ""  # of the prototxt, set by the net before setup: what a layer reads may lie there

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.launches_only = vars(cls).get("launches_only", False)  # what extends a layer may do more
        if "type" in vars(cls):
            _classes[cls.type] = cls

    def __init__(self, spec, phase: int = TEST, backend=None):
        self.spec = spec  # a LayerParameter message
        self.phase = phase
        self.be = backend  # None while a net is only sized
        self.params: list[Param] = []
        self.saved: Any = None  # what forward leaves for backward
        self.keep = True  # False: backward will not be called, save nothing

    @property
    def xp(self):
        """The array module of the backend: NumPy, CuPy, or what computes as they do."""
        return self.be.xp

    @property
    def train(self) -> bool:
        """Whether the net is in the TRAIN phase."""
        return self.phase == TRAIN

    def setup(self, shapes: list[Shape]) -> list[Param]:
        """Check the fields against the first shapes and declare the learned arrays."""
        return []

    def infer(self, shapes: list[Shape]) -> list[Shape]:
        """The top shapes for these bottom shapes; raises ShapeFault."""
        return [shapes[0]]

    def forward(self, xs: list[Array]) -> list[Array]:
        """The tops (arrays of the shapes that `infer` gives) of the bottoms xs, which it never writes to."""
        raise NotImplementedError(self.type)

    def save_for_backward(self, xs: list[Array]) -> None:
        """Leave in `saved` what forward leaves there: for a backward pass that no forward came before."""
        self.forward(xs)

    def backward(self, dys: list[Array | None], need: list[bool]) -> list[Array | None]:
        """Gradients of the bottoms, in their shapes: None where need[i] is False, or where none of the dys has a part
        in it.

        dys[i] is None where no gradient reaches top i (never all of them); dys are not to be written to.
        Adds to params[i].grad where that is not None.
        """
        raise NotImplementedError(self.type)

    def affine(self) -> Affine:
        """Of a layer that `is_affine`: by what it scales and shifts channels (axis 1)."""
        raise NotImplementedError(self.type)

    def advice(self, shapes: list[Shape]) -> list[str]:
        """What can be computed from bottoms of these shapes but was hardly meant: lines for warnings."""
        return []

    def stream(self) -> Stream | None:
        """Of a data layer how its samples follow each other; None for all others, which read what they are given."""
        return None

    def data_origin(self) -> Iterable[str]:
        """Of a data layer lines that tell what it reads from other data, mostly a sample's name and size each."""
        return ()

    def to_onnx(self, graph, xs: list) -> list:
        """The tops of TEST as operators of a layers.onnx.graph, of the bottoms xs; SchemaFault where ONNX has none."""
        raise SchemaFault(f"{self.type} has no translation to ONNX")

    def check(self) -> None:
        """Raise the fault in what the last forward was given, if there is one that would have kept it waiting for the
        device.  Asked where a loss is not finite: such a fault makes it NaN."""

    def coords(self) -> tuple[int | None, tuple[float, ...], tuple[float, ...]] | None:
        """(first spatial axis, scale, shift): top coordinate = scale * bottom coordinate + shift, with one number
        for all spatial axes or one for each, as pycaffe's coord_map has them (axis: one more than there).

        Layers that may work in place keep coordinates; None: there is no such map.  Of sizes, those of setup count.
        """
        return SAME_COORDS if self.in_place else None

    def window(self) -> tuple[int, ...]:
        """How many pixels of the bottom a pixel of the top looks at: one number for all spatial axes, or one each."""
        return (1,)

    def macs(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        """Multiply-accumulate operations of one forward pass."""
        return 0

    def state(self) -> dict:
        """What an exact restart needs beside the params (a data layer's position), as JSON values."""
        return {}

    def load_state(self, state: dict) -> None:
        """Go on from what `state` gave."""

    def close(self) -> None:
        """Release files and threads."""


class LossLayer(Layer):
    """The base of losses that compare a prediction (bottom 0) with a label or target (bottom 1)."""

    bottoms = (2, 2)
    is_loss = True
    never_differentiable = (1,)

    def divisor(self, outer: int, inner: int, valid=None, default: int = LossParameter.VALID):
        """What the sum of losses over outer x inner pixels, `valid` of them not ignored (None: all), is divided by.

        `normalization` wins over the older `normalize` (true: VALID, false: BATCH_SIZE); never less than 1.
        An int, or a device array of shape () where `valid` is one and counts.
        """
        divisors = {
            LossParameter.FULL: outer * inner,
            LossParameter.VALID: outer * inner if valid is None else valid,
            LossParameter.BATCH_SIZE: outer,
            LossParameter.NONE: 1,
            LossParameter.PRE_FIXED: self.spec.loss_param.pre_fixed_normalizer,
        }
        divisor = divisors[self.normalization(default)]
        return max(1, divisor) if isinstance(divisor, int | float) else self.xp.maximum(divisor, 1)

    def normalization(self, default: int) -> int:
        """How the sum of losses is divided, as a LossParameter says it."""
        param = self.spec.loss_param
        older = LossParameter.VALID if param.normalize else LossParameter.BATCH_SIZE
        newer = param.normalization if param.HasField("normalization") else default
        return older if param.HasField("normalize") and not param.HasField("normalization") else newer

    def class_weights(self, classes: int) -> list[float]:
        """A factor of the loss for each class of a pixel's label; empty: 1.  SchemaFault where fields contradict."""
        param = self.spec.loss_param
        if param.class_weighting and not param.HasField("weight_by_label_freqs"):
            raise SchemaFault(
                "class_weighting counts with weight_by_label_freqs: true only: add it, or give class_weight"
            )
        field = "class_weighting" if param.weight_by_label_freqs else "class_weight"
        weights = list(getattr(param, field))
        if param.weight_by_label_freqs and (param.class_weight or not weights):
            raise SchemaFault(
                "weight_by_label_freqs: true asks for class_weighting, one for each class, in the place of class_weight"
            )
        if weights and len(weights) != classes:
            raise SchemaFault(f"{field} is given {len(weights)} times for {classes} classes: give one for each or none")
        return weights


def axis_index(axis: int, shape: Shape, field: str = "axis") -> int:
    """A possibly negative axis as an index into shape; ShapeFault where the shape has no such axis."""
    if not -len(shape) <= axis < len(shape):
        raise ShapeFault(
            f"{field} {axis} does not exist in a bottom of shape {shape} with {len(shape)} axes: "
            f"choose {-len(shape)} to {len(shape) - 1}"
            if shape
            else f"{field} {axis} does not exist: the bottom is a single number without axes"
        )
    return axis % len(shape)


def _import_layers(type_name: str = "") -> None:
    """The layers of the file that has the type's name, or all: 160 files take longer than a small net."""
    importlib.import_module(modules().get(type_name.lower(), "demitasse.layers"))
    for name in () if type_name in _classes else modules().values():
        importlib.import_module(name)


def layer_types() -> list[str]:
    """All known types, sorted."""
    _import_layers()
    return sorted(_classes)


def layer_class(type_name: str, others: Iterable[str] = ()) -> type[Layer]:
    """The class of a type; SchemaFault with the nearest known name otherwise.

    others: the types of the whole net, so that all that are not known are told at once.
    """
    _import_layers(type_name)
    if type_name not in _classes:
        if not type_name:
            raise SchemaFault('no type given: write, say, type: "Convolution"')
        unknown = [name for name in dict.fromkeys(others) if name and name not in _classes and name != type_name]
        names = ", ".join(name + fork_hint(name) for name in unknown)
        also = f"; nor are these types of the net known: {names}" * bool(names)
        raise SchemaFault(
            f"unknown layer type '{type_name}'{type_hint(type_name, _classes)}; "
            f"`python -m netdef types` lists them all{also}"
        )
    return _classes[type_name]


layer_scan.require_type = layer_class  # so that a field of an unknown layer is told as what it is
