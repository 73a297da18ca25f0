"""The arrays of a net from forward to backward: what is alive, what has run, gradients on their way down.

Memory follows the plan: a value is dropped after its last reader, what a layer has saved after its
backward, a gradient once its producer has taken it.  Layers keep what they need themselves (`saved`),
so values can go even where a backward pass follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from demitasse.layers.layer import Array, Shape
from demitasse.netdef.blobs import Blobs, Gradients
from demitasse.netdef.fusion import slope_of
from demitasse.netdef.graph import Step, Value
from demitasse.netdef.plan import Plan, infer
from demitasse.netdef.words import shape_text
from demitasse.proto.errors import GraphFault

KEEPING = "keep=[...] names blobs to keep, keep='all' keeps every one"


class Run:
    """One net's arrays.  kept: the names of blobs to be kept beside what is needed; None: all of them."""

    def __init__(self, plan: Plan, backend, kept: set[str] | None):
        self.plan, self.backend, self.kept = plan, backend, kept
        self._inputs: dict[Value, Array] = {}  # what the user gave, for good
        self._arrays: dict[Value, Array] = {}  # what the layers have made and somebody still needs
        self._sums = Gradients(backend)  # gradients on their way down
        self._grads: dict[Value, Array] = {}  # gradients kept for reading
        self._ran: set[Step] = set()  # forward done, backward still possible
        self._ran_at: dict[Step, list[Shape] | None] = {}  # the bottom shapes of each layer's last forward
        self._absorbed: set[Step] = set()  # ReLUs that ran inside the layer before them
        self._joined: dict[Step, Array] = {}  # what Concats will return, while its pieces are being made
        self._sizes_known = True  # whether no size of this pass has shown only on the way
        values: dict[str, list[Value]] = {}
        for value in plan.values:
            values.setdefault(value.name, []).append(value)
        newest_first = {name: found[::-1] for name, found in values.items()}
        self.blobs = Blobs(newest_first, self.array, f"holds nothing now: run forward; {KEEPING}")
        self.grads = Blobs(values, self.gradient, f"has no gradient now: run backward; {KEEPING}")

    # -- values ------------------------------------------------------------------------------------

    def array(self, value: Value) -> Array | None:
        """What the value holds now.  An input that nobody has set holds zeros."""
        if not value.producer.is_input:
            return self._plainly(value, self._arrays)
        array = self._inputs.get(value)
        if array is None or array.shape != value.shape:
            array = self._inputs[value] = self.backend.zeros(value.shape)
        return array

    def _plainly(self, value: Value, held: dict[Value, Array]) -> Array | None:
        """What is held, which from now on is an array: whoever has it may write to it."""
        array = held.get(value)
        if array is not None and self.backend.capabilities.nhwc:
            array = held[value] = self.backend.to_nchw(array)
        return array

    def put(self, value: Value, array: Array) -> None:
        """Set an input for good, or another value for the layers that still have to run."""
        (self._inputs if value.producer.is_input else self._arrays)[value] = array
        value.shape = tuple(array.shape)

    def losses(self) -> list[tuple[float, Array]]:
        """(weight, array) of each loss that there is at the moment."""
        return [(value.loss_weight, self.array(value)) for value in self.plan.losses if value in self._arrays]

    def forget(self) -> None:
        """Drop what the last run has left, before the next one allocates anything."""
        self._arrays.clear()
        self._sums.clear()
        self._grads.clear()
        self._ran.clear()
        self._absorbed.clear()
        for step in self.plan.steps:
            step.layer.saved = None

    # -- forward -----------------------------------------------------------------------------------

    def begin_forward(self, first: int, last: int) -> None:
        """Make ready for steps[first..last]: nothing of an earlier run counts for them any more."""
        if first == 0:
            self.forget()
        for relu in self._absorbed.intersection(self.plan.steps[first : last + 1]):
            self._absorbed.discard(relu)
            relu.bottoms[0].producer.layer.relu = None
        self._joined.clear()
        self._sizes_known = True

    def forward(self, step: Step, last: int) -> None:
        """Run one layer, and its in-place ReLU with it where that lies within the layers up to `last`."""
        if step in self._absorbed:
            return
        held = self._arrays
        if not step.is_input:
            tops = step.tops if step.relu is None else self._absorb_relu(step, last)
            with step.located:
                shapes = [value.shape for value in step.bottoms]
                if shapes != step.sized_for:
                    infer(step, shapes)
                    self._sizes_known = self.plan.settled = False
                if tops and tops[0].join:
                    step.layer.out = self._place(tops[0], last)
                xs = [held[value] if value in held else self._alive(value) for value in step.bottoms]
                if self.backend.capabilities.nhwc:
                    arrays = self._as_told(step.layer.forward(self._as_taken(step, xs)))
                else:
                    arrays = step.layer.forward(xs)
            for value, array in zip(tops, arrays, strict=True):
                held[value], value.shape = array, array.shape  # some shapes depend on the data
            if self._joined:
                self._joined.pop(step, None)
        self._ran.add(step)
        self._ran_at[step] = step.sized_for
        for value in step.last_uses:
            held.pop(value, None)

    def _as_taken(self, step: Step, arrays: list[Array | None]) -> list[Array | None]:
        """The arrays as the layer takes them: only some take images in a form of the backend's own."""
        return arrays if step.layer.takes_nhwc else [self.backend.to_nchw(array) for array in arrays]

    def _as_told(self, arrays: list[Array | None]) -> list[Array | None]:
        """What a layer has made, as it is kept: where all blobs are, they are arrays that a user can write to."""
        return arrays if self.kept is not None else [self.backend.to_nchw(array) for array in arrays]

    def _absorb_relu(self, step: Step, last: int) -> list[Value]:
        """Decide whether the step runs its ReLU too, and return the tops that it will then make."""
        fused = step.relu.index <= last
        step.layer.relu = step.relu_slope if fused else None
        (self._absorbed.add if fused else self._absorbed.discard)(step.relu)
        return step.relu.tops if fused else step.tops

    def _place(self, value: Value, last: int) -> Array | None:
        """Where the Concat that joins the value, if it runs in this pass too, wants it: a flat array."""
        join, (top,) = value.join, value.join.tops
        if join.index > last or not self._sizes_known or math.prod(top.shape[: join.layer.axis]) != 1:
            return None
        sizes, place = [math.prod(piece.shape) for piece in join.bottoms], join.bottoms.index(value)
        if sum(sizes) != math.prod(top.shape):
            return None
        if join not in self._joined:
            self._joined[join] = self.backend.empty(sum(sizes))
        start = sum(sizes[:place])
        return self._joined[join][start : start + sizes[place]]

    def _alive(self, value: Value) -> Array:
        array = self.array(value)
        if array is None:
            raise GraphFault(
                f"reads blob '{value.name}', which holds nothing now: give it in forward's inputs, "
                f"or start further up; {KEEPING}"
            )
        return array

    def has_run(self, step: Step) -> bool:
        """Whether the layer can go backward: its forward has run, at the sizes that its bottoms have now."""
        return step in self._ran and self._ran_at.get(step) == step.sized_for

    def make_up(self, step: Step) -> None:
        """Let a layer that has not run save what its backward needs of its bottoms as they are; its tops stay."""
        with step.located:
            shapes = [value.shape for value in step.bottoms]
            if shapes != step.sized_for:
                infer(step, shapes)
            step.layer.save_for_backward(self._as_taken(step, [self._alive(value) for value in step.bottoms]))
        self._ran.add(step)
        self._ran_at[step] = step.sized_for

    # -- backward ----------------------------------------------------------------------------------

    def begin_backward(self, first: int, last: int, afresh: bool, given: Mapping[Value, Array]) -> None:
        """Put the gradients in place that a pass over steps[first..last] begins from: the losses', and those given."""
        if afresh:
            self._sums.clear()
            self._grads.clear()
        for value in self._sums.waiting():  # of an earlier pass over these layers, which send anew
            if value.readers and all(first <= reader.index <= last for reader in value.readers):
                self._sums.take(value)
        for value in self.plan.losses:
            if first <= value.producer.index <= last and value in self._arrays:
                seed = self.backend.xp.full(value.shape, value.loss_weight, self.backend.dtype)
                self._sums.add(value, seed)
        for value, gradient in given.items():
            if tuple(gradient.shape) != value.shape:
                raise GraphFault(
                    f"the gradient given for blob '{value.name}' is {shape_text(gradient.shape)}, "
                    f"the blob {shape_text(value.shape)}"
                )
            self._sums.put(value, gradient)
        if not self._sums and not self._grads:
            raise GraphFault(
                "backward has no gradient to begin from: run forward up to a loss first, or give grads={blob: gradient}"
            )

    def backward(self, step: Step) -> None:
        """Take the gradients of the step's tops, leave those of its bottoms; nothing where none has arrived."""
        if not step.backward or step in self._absorbed:
            return
        tops = step.relu.tops if step.relu in self._absorbed else step.tops
        dys = [self._arrived(value) for value in tops]
        if all(dy is None for dy in dys):
            return
        with step.located:
            if step not in self._ran:
                raise GraphFault("has nothing saved to go back from: run forward again first")
            if self.backend.capabilities.nhwc:
                dys = self._as_taken(step, dys)
            dxs = step.layer.backward(dys, list(step.need))
            if self.backend.capabilities.nhwc:
                dxs = self._as_told(dxs)
        for value, dx, need in zip(step.bottoms, dxs, step.need, strict=True):
            if need and dx is not None:
                self._sums.add(value, dx)
        if self.kept is not None:
            step.layer.saved = None
            self._ran.discard(step)

    def _arrived(self, value: Value) -> Array | None:
        """The sum of what the value's readers have sent, or what an earlier, partial pass has kept of it."""
        gradient = self._sums.take(value)
        if gradient is None:
            return self._grads.get(value)
        if self.kept is None or value.name in self.kept:
            self._grads[value] = gradient
        return gradient

    def gradient(self, value: Value) -> Array | None:
        """The gradient of a value, for reading: waiting for its producer to take it, or kept."""
        waiting = self._sums.get(value)
        if waiting is not None:
            plain = self.backend.to_nchw(waiting)
            if plain is not waiting:
                self._sums.put(value, plain)  # whoever has it may write to it
            return plain
        if value in self._grads:
            return self._plainly(value, self._grads)
        relu = value.producer.relu
        if relu not in self._absorbed:
            return None
        after, output = self.gradient(relu.tops[0]), self.array(relu.tops[0])
        return None if after is None or output is None else self.backend.relu_backward(after, output, slope_of(relu))
