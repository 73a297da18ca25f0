"""Results made in order by a thread while the caller computes.

The thread ends with its prefetcher, and is waited for when the process exits.  A process that forks carries none of
its threads along: a fork waits for the result at hand (no reader's lock is then held, and no library is halfway
through a file), and the child makes what was not yet taken anew, by a thread of its own.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

THREADS = ("prefetch", "decode")  # how the names of threads that read begin
LONGEST_WAIT = 60  # seconds that a fork waits for the result at hand

_living: weakref.WeakSet[Prefetcher] = weakref.WeakSet()
_living_lock = threading.Lock()


class Prefetcher:
    """make(ticket) for each ticket in turn, up to `ahead` more of them than were asked for.

    `make` depends on the ticket alone, and keeps no reference to what owns the prefetcher: so a lost owner is freed,
    and its thread ends.  ahead 0: no thread; results are made when they are asked for.
    """

    def __init__(self, make: Callable[[Any], Any], tickets: Iterator, ahead: int):
        self._make, self._tickets, self._ahead = make, tickets, ahead
        self._pending: deque[_Entry] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._making = threading.RLock()  # held while a result is made
        with _living_lock:
            _living.add(self)
        self.start()

    def start(self) -> None:
        """Begin what may be made ahead."""
        while len(self._pending) <= self._ahead:
            self._pending.append(_Entry(next(self._tickets)))
        if not self._ahead:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix=THREADS[0])
            self._end = weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
            self._end.atexit = False  # at exit the threads of all pools are waited for anyhow
        for entry in self._pending:
            if entry.future is None:
                try:
                    entry.future = self._pool.submit(_locked, self._making, self._make, entry.ticket)
                except RuntimeError:  # no thread can begin any more: the process exits
                    return

    def current(self):
        """The result that is next, the same until `advance`; what went wrong in the thread is raised here."""
        self.start()
        entry = self._pending[0]
        if entry.future is not None:
            return entry.future.result()
        if entry.result is None:
            entry.result = self._make(entry.ticket)
        return entry.result

    def advance(self) -> None:
        """Go on to the next result."""
        self._pending.popleft()
        self.start()

    def close(self) -> None:
        """End the thread, once the result at hand is made."""
        self._pending.clear()
        if self._pool is not None:
            self._end.detach()
            # What a thread that reads has collected as garbage may be its own prefetcher: it cannot wait for itself.
            reads = threading.current_thread().name.startswith(THREADS)
            self._pool.shutdown(wait=not reads, cancel_futures=True)
            self._pool = None

    def forget_threads(self) -> None:
        """In the child of a fork: there are no threads, and a Future may have been halfway."""
        self._making = threading.RLock()
        if self._pool is not None:
            self._end.detach()
            self._pool = None
            self._pending = deque(_Entry(entry.ticket) for entry in self._pending)


class _Entry:
    """A ticket, and what is known of its result."""

    def __init__(self, ticket):
        self.ticket, self.result = ticket, None
        self.future: Future | None = None


def _locked(lock, make, ticket):
    with lock:
        return make(ticket)


# -- forks -------------------------------------------------------------------------------------------

_forking = threading.local()  # .held: the locks that the thread holds while it forks, a list for each watch


def _held() -> list[list]:
    if not hasattr(_forking, "held"):
        _forking.held = []
    return _forking.held


def _before_fork() -> None:
    with _living_lock:
        locks = [prefetcher._making for prefetcher in _living]
    _held().append([lock for lock in locks if lock.acquire(timeout=LONGEST_WAIT)])


def _after_fork_in_parent() -> None:
    for lock in _held().pop():
        lock.release()


def _after_fork_in_child() -> None:
    global _living_lock
    _held().clear()
    _living_lock = threading.Lock()
    for prefetcher in list(_living):
        prefetcher.forget_threads()


def watch_forks() -> None:
    """Wait for the results at hand before a fork, ahead of all that was registered for forks so far.

    To be called again once a library is imported that takes a lock of its own before a fork (h5py): what is at hand
    may need that lock to get done.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
        )


watch_forks()
