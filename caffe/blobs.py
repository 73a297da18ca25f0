"""pycaffe's blobs over the engine's values: arrays that scripts read, write and hold on to.

The engine makes a new array for every result; pycaffe has one stretch of memory per blob name for good.  So a blob
that has been looked at owns its memory: what a layer makes is copied there, the engine uses that array from then on,
and a view taken once shows every later result.  Blobs that nobody looks at cost nothing: layers are fused as if they
were not there, and where somebody looks after all they are computed (netdef.lazy_executor).  A blob that somebody has
looked at lately, or has a view of, is kept.  After `reshape` to another count a blob has new memory; older views keep
theirs, and its values.

In-place layers share one blob, as in Caffe: it shows the newest result, and the gradient before all of them.

On another device the memory is a copy on the host, as Caffe has it: reading `data` or `diff` fetches, and what has
been fetched goes back before the net runs on.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from caffe.host_memory import HostCopy, settle
from caffe.pylayer import Shaped, own_memory
from demitasse.layers.layer import Param
from demitasse.netdef.graph import Value
from demitasse.proto.errors import ShapeFault, did_you_mean

PATIENCE = 16  # passes in which nobody looks at a blob, until it is no longer kept


class Named(OrderedDict):
    """{name: thing}; a name that is not there is answered with the nearest that is."""

    def __init__(self, items, what: str, remedy: str = ""):
        self._what, self._remedy = what, remedy
        super().__init__()
        for name, thing in items:
            super().__setitem__(name, thing)

    def __setitem__(self, name, thing):
        raise TypeError(f"what a net is made of cannot be replaced{self._remedy.format(name=name)}")

    def __missing__(self, name):
        raise KeyError(f"the net has no {self._what} '{name}'{did_you_mean(str(name), self)}")


class NetBlob(Shaped):
    """A blob of a net: `data` and `diff` are float32 arrays that may be written to.

    values: what its name means one after the other; more than one where layers work in place.
    with_memory: the blobs of the net whose `data` have memory, which it joins.
    """

    def __init__(self, engine, values: list[Value], with_memory: set[NetBlob]):
        self._engine, self._values, self._with_memory = engine, values, with_memory
        self._on_host = engine.backend.xp is np
        self._data, self._diff = HostCopy(), HostCopy()
        self.current: Value | None = None  # the value made last, if that was in a part of a pass
        self._looked_at = -PATIENCE  # in which pass of the net

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes, as of the last run or `reshape`."""
        return self._values[-1].shape

    def reshape(self, *shape: int) -> None:
        """Take new sizes: of an input, for the layers behind it too once net.reshape or forward has run.

        TypeError for what are no whole numbers.
        """
        if not all(isinstance(size, (int, np.integer)) for size in shape):
            raise TypeError(f"reshape takes whole numbers one by one, as in reshape(1, 3, 500, 500), not {shape}")
        if any(size < 0 for size in shape):
            raise ShapeFault(f"blob '{self._values[-1].name}' cannot have the shape {shape}")
        for value in self._values:
            self._engine.plan.reshape_value(value, shape)
        self._data.reshape(shape)
        self._diff.reshape(shape)

    @property
    def _gpu_data_ptr(self) -> int:
        return _pointer(self._engine.executor.array(self._values[-1]))

    @property
    def _gpu_diff_ptr(self) -> int:
        return _pointer(self._engine.executor.gradient(self._values[0]))

    # -- data ----------------------------------------------------------------------------------------

    def _data_array(self) -> np.ndarray:
        executor = self._engine.executor
        self._looked_at = executor.passes
        if not self._data.holds(self.shape):
            self._data.take(self._made())
            executor.on_made.update((value, self.made) for value in self._values)
            self._with_memory.add(self)
        return self._data.lend()

    def wanted_after(self, last: int) -> Value | None:
        """The value that somebody will look at after a pass over the layers up to `last`, if that is likely.

        Else the memory of `data` is let go of, where the pass makes it anew."""
        if self._data.array is None or self._values[0].producer.is_input:
            return None
        late = self._values[-1].producer.index > last
        if late or self._data.loan.out or self._engine.executor.passes - self._looked_at < PATIENCE:
            return self._before(last + 1)
        self._data.array = None
        self._with_memory.remove(self)
        for value in self._values:
            self._engine.executor.on_made.pop(value, None)
        return None

    def let_go(self) -> None:
        """Leave the memory of `data` to whoever has it; the blob has its values in another from then on."""
        if self._data.array is not None:
            self._data.array = self._data.array.copy()

    def _made(self) -> np.ndarray:
        """What the engine has of it, newest first; zeros where that is nothing."""
        candidates = [self.current] if self.current else self._values[::-1]
        for array in map(self._engine.executor.array, candidates):
            if array is not None and array.shape == self.shape:
                return self._engine.backend.to_host(array)
        return np.zeros(self.shape, np.float32)

    def made(self, value: Value) -> None:
        """A layer has just made this value, of a blob that has been looked at."""
        host = self._data
        host.ours = host.ours and self._on_host
        if host.array is None:
            return
        array = self._engine.executor.array(value)
        if host.array.shape != array.shape:
            host.array = None
        elif self._on_host:
            host.take(array)
            if value is self._values[-1]:  # earlier ones stay the engine's: their values will not last
                self._engine.executor.put(value, host.array)

    def lend(self, first: int) -> None:
        """Let the layers from index `first` on read what the script has written."""
        if self._data.array is None:
            return
        value = self._before(first)
        if value is None or not self._data.holds(value.shape):
            return
        array = self._data.array
        if not self._on_host:
            array, self._data.ours = self._engine.backend.asarray(array.copy()), False
        elif value is not self._values[-1]:
            array = array.copy()
        self._engine.executor.put(value, array)

    def fill_gap(self, first: int) -> None:
        """Zeros, as in Caffe's fresh memory, where a layer from `first` on would read what nobody has made."""
        value = self._before(first)
        if value is None or not any(reader.index >= first for reader in value.readers):
            return
        executor = self._engine.executor
        array = executor.array(value)
        if array is None:  # an in-place layer may have overwritten it, as in Caffe
            array = executor.array(self.current or self._values[-1])
            if array is not None:
                executor.put(value, array)
        if array is None or array.shape != value.shape:
            executor.put(value, self._engine.backend.zeros(value.shape))

    def _before(self, first: int) -> Value | None:
        """What the name means where layer `first` begins."""
        made = [value for value in self._values if value.producer.index < first or value.producer.is_input]
        return made[-1] if made else None

    # -- diff ----------------------------------------------------------------------------------------

    def _diff_array(self) -> np.ndarray:
        if not self._diff.holds(self.shape):
            self._diff.take(self._sent())
        return self._diff.lend()

    data, diff = own_memory("data"), own_memory("diff")

    def _sent(self) -> np.ndarray:
        """The gradient the engine has of it; a loss begins at its weight, all else at zero."""
        for gradient in map(self._engine.executor.gradient, self._values):
            if gradient is not None and gradient.shape == self.shape:
                return self._engine.backend.to_host(gradient)
        return np.full(self.shape, self._values[-1].loss_weight, np.float32)

    def sent(self, value: Value) -> None:
        """A layer has just sent this value a gradient."""
        host = self._diff
        if host.array is None:
            return
        host.ours = host.ours and self._on_host
        gradient = self._engine.executor.gradient(value)
        if gradient is not None and host.holds(gradient.shape):
            host.take(gradient)

    def start_of(self, first: int, last: int, with_zeros: bool = False) -> np.ndarray | None:
        """What a backward pass over layers `first` to `last` begins from: the diff, of the blob's shape, where the
        script has looked at it and no layer of the pass writes it.  with_zeros: zeros where the script has not."""
        value = self._before(last + 1)
        if value is None or value.producer.index < first:
            return None
        known = self._diff.holds(value.shape)
        if not known and (value.loss_weight or not (with_zeros and value.producer.backward)):
            return None
        if any(reader.index <= last and reader.backward for reader in value.readers):
            return None
        if value.slot and not value.producer.cls.later_tops_send:
            return None
        return self._diff.array if known else np.zeros(value.shape, np.float32)


class ParamBlob(Shaped):
    """A learned blob: the engine's own arrays on the CPU, host copies elsewhere.

    handed_out: the learned blobs of the net whose arrays scripts may have, which it joins.
    """

    def __init__(self, engine, param: Param, handed_out: set[ParamBlob]):
        self._engine, self._param, self._handed_out = engine, param, handed_out
        self._on_host = engine.backend.xp is np
        self._data, self._diff = HostCopy(), HostCopy()

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes, which the layer decides."""
        return self._param.shape

    def reshape(self, *shape: int) -> None:
        """Refused, but to the shape that it has: the layer decides."""
        if tuple(shape) != self.shape:
            raise ShapeFault(
                f"a learned blob keeps its shape {self.shape}: change the layer's fields instead of "
                f"reshaping to {shape}"
            )

    def _data_array(self) -> np.ndarray:
        settle(self._engine)  # whoever has it may write to it
        self._handed_out.add(self)
        return self._data.loan.of(self._host(self._data, self._param.data))

    @property
    def lent(self) -> bool:
        """Whether a script has its `data`, and may write to it."""
        return self._data.loan.out

    @property
    def lends(self) -> bool:
        """Whether what a script has written, or may yet write, is not where the engine has it."""
        return self.lent or not self._on_host

    def _diff_array(self) -> np.ndarray:
        self._handed_out.add(self)
        if self._param.grad is None and self._diff.array is None:  # not learned: nobody will add to it
            return self._diff.take(np.zeros(self.shape, np.float32))
        return self._host(self._diff, self._param.grad)

    data, diff = own_memory("data"), own_memory("diff")

    def _host(self, host: HostCopy, array) -> np.ndarray:
        if array is None or (host.ours and not self._on_host):
            return host.array
        if self._on_host:
            return array
        return host.take(self._engine.backend.to_host(array))

    @property
    def _gpu_data_ptr(self) -> int:
        return _pointer(self._param.data)

    @property
    def _gpu_diff_ptr(self) -> int:
        return _pointer(self._param.grad)

    def lend(self) -> None:
        """Let the device have what the script has written."""
        for host, array in ((self._data, self._param.data), (self._diff, self._param.grad)):
            if host.ours and array is not None and not self._on_host:
                array[...] = self._engine.backend.asarray(host.array)
                host.ours = False

    def clear_diff(self) -> None:
        """Set the gradient to zero."""
        self.diff[...] = 0


def _pointer(array) -> int:
    """Where a device array lies."""
    if array is None or isinstance(array, np.ndarray):
        raise RuntimeError(
            "there is no such array on a GPU: call caffe.set_mode_gpu() before building the net, and run it first"
        )
    return array.data.ptr
