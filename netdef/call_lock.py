"""One thread at a time in a net: others wait for their turn, and each gets the results of its own call."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

Method = TypeVar("Method", bound=Callable)


class Lockable:
    """What has a lock of its own, `lock`, that a thread holds during each method marked `alone`.

    A thread that holds it already passes, so a script may hold it to make several calls one:
    `with net.lock: net.forward(...); net.backward()`.  A forked process finds it free.
    """

    def __init__(self):
        self.lock = threading.RLock()
        _all.add(self)


_all: weakref.WeakSet[Lockable] = weakref.WeakSet()


def _free_in_child() -> None:
    """The thread that held a lock when the process was forked is not there to give it back."""
    for one in list(_all):
        one.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_in_child)


def alone(method: Method) -> Method:
    """The method, run while no other thread is in one of the same object."""

    @functools.wraps(method)
    def waiting(self, *args, **kwargs):
        with self.lock:
            return method(self, *args, **kwargs)

    return waiting  # type: ignore[return-value]  # it is called alike
