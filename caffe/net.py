"""caffe.Net: the engine's net as pycaffe shows it.

    net = caffe.Net("deploy.prototxt", "fcn8s.caffemodel", caffe.TEST)
    net.blobs["data"].reshape(1, *image.shape)
    net.blobs["data"].data[...] = image
    net.forward()
    labels = net.blobs["score"].data[0].argmax(axis=0)

Every blob and gradient stays readable.  Layers run in the calls of others where nobody looks at what is between, and
what somebody looks at after all is computed then (netdef.lazy_executor); once functions are called between layers,
every layer runs on its own.  Blobs that Caffe generates where a blob is read twice (*_split_*) do not exist here: a
value is simply read twice, and its diff is the sum.
"""

from __future__ import annotations

import os
import threading

import numpy as np

from caffe import mode
from caffe.argument_checks import blob_names, check_names, fill, input_arrays
from caffe.batches import forward_all, forward_backward_all
from caffe.blobs import NetBlob
from caffe.files import require_file, require_weights
from caffe.log import make_log
from caffe.net_files import NetFiles
from caffe.net_structure import NetStructure
from demitasse.netdef.call_lock import alone
from demitasse.netdef.lazy_executor import LazyExecutor
from demitasse.netdef.net import Net as Engine
from demitasse.proto.errors import GraphFault
from demitasse.proto.messages import NetParameter
from demitasse.proto.warning import warn


class Net(NetFiles):
    """Net(network_file, phase, level=0, stages=None, weights=None), or Net(network_file, weights, phase) as of old.

    network_file: a prototxt, or a NetParameter.  phase: caffe.TRAIN or caffe.TEST.  auto_crop: as in netdef.net.Net.
    Raises FileFault (a RuntimeError) for a file that is not there, other NetErrors for what does not fit.
    """

    def __init__(self, network_file, *given, phase=None, level=0, stages=None, weights=None, auto_crop=False):
        if given and isinstance(given[0], (str, os.PathLike)):
            weights, *given = given
        if len(given) > 4 or (given and phase is not None):
            raise TypeError("Net takes (network_file, phase, level, stages, weights) or (network_file, weights, phase)")
        phase, level, stages, weights = [*given, *(phase, level, stages, weights)[len(given) :]]
        if isinstance(level, (str, os.PathLike)):
            raise TypeError(f"Net takes weights before the phase, or by name: weights={os.fspath(level)!r}")
        if phase is None:
            raise TypeError("Net needs a phase: caffe.TRAIN or caffe.TEST")
        if not isinstance(network_file, NetParameter):
            require_file(network_file)
        if weights:
            require_weights(weights)
        self._show(
            Engine(
                network_file,
                phase,
                backend=mode.backend(),
                level=level,
                stages=stages or (),
                auto_crop=auto_crop,
                keep="lazy",
            )
        )
        if self.engine.plan.message.debug_info:
            from demitasse.solver import debug  # here: it takes longer to import than a small net to load

            self.engine.executor.run_singly()
            debug.attach(self.engine, make_log())
        if weights:
            self.copy_from(weights)

    @classmethod
    def of(cls, engine: Engine) -> Net:
        """The facade of a net that is there already (built with keep="newest" or "all")."""
        net = cls.__new__(cls)
        net._show(engine)
        return net

    def _show(self, engine: Engine) -> None:
        NetStructure.__init__(self, engine)
        self._thread: int | None = None  # that ran the net last
        self._several = False  # whether more than one thread has run it
        self._returned: set[str] = set()  # blobs whose memory `forward` has handed out
        self._in_part: set[NetBlob] = set()  # that have been made in a part of a pass
        self._watched = False  # whether a script looks on between layers
        engine.forward_done.append(self._made)
        engine.backward_done.append(self._sent)

    # -- running -----------------------------------------------------------------------------------

    @property
    def lock(self):
        """A reentrant lock, held during each call, so that threads may share the net; hold it to make several calls,
        or a call and a look at `blobs`, one."""
        return self.engine.lock

    @alone
    def forward(self, blobs=None, start=None, end=None, **kwargs) -> dict[str, np.ndarray]:
        """Run the layers from `start` to `end` (names, both included).

        kwargs: {input: array of its blob's shape}, for all inputs or none.  blobs: names to return beside the outputs.
        Returns {blob: its data} of the net's outputs, or with `end` of that layer's tops: the blobs' own memory, which
        the next run writes to; where several threads run the net, copies.  All are float32.  KeyError or NetError where
        a name is none of the net's, ShapeFault where an array does not fit.
        """
        wanted = blob_names(blobs, "forward", self.inputs)
        self._fill("data", kwargs, self.inputs, "forward", "inputs")
        last = self._index(end, len(self.layers) - 1)
        names = self.outputs if end is None else self._tops(last)
        self._take_turn()
        self._forward(self._index(start, 0), last)
        return self._results("data", [*names, *wanted])

    @alone
    def backward(self, diffs=None, start=None, end=None, **kwargs) -> dict[str, np.ndarray]:
        """Run backward from layer `start` down to `end`, beginning with the diffs of the tops as they are.

        A loss's diff is its loss_weight until a script writes another.  The params' diffs are added to.
        kwargs: {output: diff of its blob's shape}, for all outputs or none.  diffs: names to return beside the inputs.
        Returns {blob: its diff} of the net's inputs, or with `end` of that layer's bottoms.
        """
        wanted = blob_names(diffs, "backward", self.outputs)
        self._fill("diff", kwargs, self.outputs, "backward", "outputs")
        first = self._index(end, 0)
        names = self.inputs if end is None else self._bottoms(first)
        self._backward(self._index(start, len(self.layers) - 1), first)
        return self._results("diff", [*names, *wanted])

    def _take_turn(self) -> None:
        """Where another thread ran the net last, what `forward` gave it keeps its values."""
        me = threading.get_ident()
        if self._thread not in (None, me) and not self._several:
            self._several = True
            for name in self._returned.difference(self.inputs):
                self.blobs[name].let_go()
        self._thread = me

    def _results(self, what: str, names: list[str]) -> dict[str, np.ndarray]:
        arrays = {name: getattr(self.blobs[name], what) for name in names}
        if self._several:
            return {name: array.copy() for name, array in arrays.items()}
        self._returned.update(arrays)
        return arrays

    forward_all, forward_backward_all = forward_all, forward_backward_all

    @alone
    def _forward(self, first: int, last: int) -> float:
        """Run layers by their indices; the loss."""
        self._expect(last)
        self.lend(first)
        if first:
            for blob in self.blobs.values():
                blob.fill_gap(first)
        self.engine.forward(start=first, end=last)
        return self.engine.loss if last == len(self.layers) - 1 else 0.0

    def _expect(self, last: int) -> None:
        """Tell the engine which blobs somebody will look at after a pass up to layer `last`."""
        executor = self.engine.executor
        if not isinstance(executor, LazyExecutor):
            return
        self.handed_out.difference_update([param for param in tuple(self.handed_out) if not param.lends])
        if self.shares_weights or any(param.lent for param in tuple(self.handed_out)):
            executor.expect(None)  # the weights may change when the pass is over
            return
        wanted = [blob.wanted_after(last) for blob in tuple(self.with_memory)]
        executor.expect(value for value in wanted if value is not None and value.readers)

    @alone
    def _backward(self, last: int, first: int) -> None:
        """Run layers backward by their indices."""
        steps = self.engine.plan.steps
        if not any(step.backward for step in steps):
            warn("backward has nothing to do: no loss, or force_backward: true, reaches a layer that learns")
            return
        # A user's own backward is called whatever arrives, and zeros are what Caffe's diffs are until they are written.
        with_zeros = any(step.backward and step.cls.runs_user_code for step in steps[first : last + 1])
        starts = {name: blob.start_of(first, last, with_zeros) for name, blob in self.blobs.items()}
        self._make_up(first, last)
        grads = self._loss_starts(first, last) | {name: diff for name, diff in starts.items() if diff is not None}
        self.lend(last + 1)
        if not grads and not self.engine.plan.losses and last == len(steps) - 1:
            return  # all diffs are zero, and so would be what follows from them
        self.engine.backward(start=last if last < len(steps) - 1 else None, end=first, grads=grads)

    def _loss_starts(self, first: int, last: int) -> dict[str, np.ndarray]:
        """{loss: its weight} of those in the pass that no forward has made; the engine knows of the others."""
        executor = self.engine.executor
        return {
            value.name: np.full(value.shape, value.loss_weight, np.float32)
            for value in self.engine.plan.losses
            if first <= value.producer.index <= last and executor.array(value) is None
        }

    def _make_up(self, first: int, last: int) -> None:
        """Let layers whose forward has not run save what their backward needs of the blobs as they are."""
        for step in self.engine.plan.steps[first : last + 1]:
            if step.backward and not self.engine.executor.has_run(step):
                self.lend(step.index)
                for value in step.bottoms:
                    self.blobs[value.name].fill_gap(step.index)
                self.engine.executor.make_up(step)

    def _fill(self, what: str, given, names, method: str, kind: str) -> None:
        if given:
            check_names(given, names, method, kind)
        for name, array in given.items():
            fill(name, self.blobs[name], what, array)

    # -- between scripts and the engine ------------------------------------------------------------

    def _made(self, first: int, last: int) -> None:
        """Layers first ... last have run forward."""
        if first == 0 and last == len(self.layers) - 1:  # then the newest is the newest
            for blob in self._in_part:
                blob.current = None
            self._in_part.clear()
            return
        holds = self.engine.executor.holds
        for step in self.engine.plan.steps[first : last + 1]:
            for value in step.tops:
                if holds(value):
                    self.blobs[value.name].current = value
                    self._in_part.add(self.blobs[value.name])

    def _sent(self, first: int, last: int) -> None:
        """Layers last ... first have run backward."""
        for step in reversed(self.engine.plan.steps[first : last + 1]):
            for value in step.bottoms:
                self.blobs[value.name].sent(value)

    def before_forward(self, function) -> None:
        """Call function(layer index) before each layer's forward; the next three likewise.

        From then on each layer runs in a call of its own, so that every blob can be looked at in between.
        """
        self._call(self.engine.before_forward, function, 0)

    def after_forward(self, function) -> None:
        """Call function(layer index) after each layer's forward."""
        self._call(self.engine.after_forward, function, 1)

    def before_backward(self, function) -> None:
        """Call function(layer index) before each layer's backward."""
        self._call(self.engine.before_backward, function, 1)

    def after_backward(self, function) -> None:
        """Call function(layer index) after each layer's backward."""
        self._call(self.engine.after_backward, function, 0)

    def _call(self, hooks: list, function, after: int) -> None:
        if not self._watched:
            self._watched = True
            self.engine.executor.run_singly()
            self.engine.after_forward.insert(0, lambda index: self._made(index, index))
            self.engine.after_backward.insert(0, lambda index: self._sent(index, index))

        def hook(index: int) -> None:
            function(index)
            self.lend(index + after)  # it may have written to blobs

        hooks.append(hook)

    # -- sizes, weights ----------------------------------------------------------------------------

    @alone
    def reshape(self) -> None:
        """Bring all blobs to the sizes that follow from the inputs' (forward does that too).

        ShapeFault where they do not fit; then all blobs are as they were.
        """
        self.engine.reshape({})

    @alone
    def clear_param_diffs(self) -> None:
        """Set the diffs of all params, which `backward` adds to, to zero."""
        for blobs in self.params.values():
            for blob in blobs:
                blob.clear_diff()
        self.lend()

    @alone
    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Give a net whose first layer is MemoryData images (N, C, H, W) and labels (N, 1, 1, 1) or (N,), float32.

        GraphFault for another net, ShapeFault for other arrays.
        """
        layer = self.engine.layers[0]
        if layer.type != "MemoryData":
            raise GraphFault(f"set_input_arrays needs a net whose first layer is MemoryData, not {layer.type}")
        layer.set_input_arrays(*input_arrays(data, labels))
