"""What is made of weights alone: their form for cuDNN, a BatchNorm's scale and shift, weights that such a scale has
been multiplied into.  It is kept while weights are frozen, and where recordings read it."""

from __future__ import annotations

import collections
import contextlib
import weakref

RECENT = 8  # makings: a layer's statistics, and what is composed of them and its epilogue's


class Derived:
    """Makes arrays of others by `make(sources, outs)`, anew at each request unless weights are frozen.

    frozen_since: a token of the time from which on they are; None: they are not.
    recording: a recording.CapturedGraphs that is being made.  It launches what makes its arrays in a graph of its own.
    """

    def __init__(self, runtime):
        self.runtime, self.recording, self.frozen_since = runtime, None, None
        self._kept: dict | None = None  # {what and of what: DerivedArrays} while weights are frozen
        self._ids: set = set()  # those of their arrays
        self._recent: collections.deque = collections.deque(maxlen=RECENT)  # while they are not: (C,) arrays made last
        self._staying: weakref.WeakValueDictionary = weakref.WeakValueDictionary()  # the same, of recordings

    def arrays(self, what: str, sources, empty, make):
        """outs = empty(), filled by make(sources, outs).  what: a name of this way of making them.

        sources: arrays of weights, or of what is made of weights alone; None stays None.
        """
        if self.recording is None and self._kept is None:
            outs = empty()
            make(sources, outs)
            if outs[0].ndim == 1:
                self._recent.append(outs)
            return outs
        key = what, *((a.data.ptr, a.shape) if a is not None else None for a in sources)
        return (self._made_now if self.recording is None else self._made_later)(key, sources, empty, make).outs

    def _made_now(self, key, *how):
        if key not in self._kept:
            self._kept[key] = made = DerivedArrays(*how)
            self._ids.update(map(id, made.outs))
            made.make()
        return self._kept[key]

    def _made_later(self, key, *how):
        made = self._staying.get(key)
        if made is None:
            with self.runtime.lasting(self.recording.memory):
                made = self._staying[key] = DerivedArrays(*how)
        if made not in self.recording.derived:
            self.recording.derived.append(made)
        return made

    def holds(self, array) -> bool:
        """Whether the array is one of those made here."""
        if self.recording is None and self._kept is not None:
            return id(array) in self._ids
        known = self._recent if self.recording is None else [made.outs for made in self.recording.derived]
        return any(array is out for outs in known for out in outs)

    @contextlib.contextmanager
    def frozen(self):
        """Inside, what is made is kept; a scope inside this one uses what this one has."""
        outer, since = self._kept, self.frozen_since
        if outer is None:
            self._kept, self.frozen_since = {}, object()
        try:
            yield
        finally:
            if outer is None:
                self._kept, self.frozen_since = None, since
                self._ids.clear()

    def invalidate(self) -> None:
        """What is asked for from now on is made anew."""
        if self._kept is not None:
            self._kept.clear()
            self._ids.clear()
            self.frozen_since = object()


class DerivedArrays:
    """Arrays at addresses that stay, and what they are made of.  made_in: `frozen_since` when they were made."""

    def __init__(self, sources, empty, make):
        self.sources, self.outs, self._make, self.made_in = sources, empty(), make, None

    def make(self) -> None:
        """Make them anew."""
        self._make(self.sources, self.outs)
