"""Which sizes of a net are recorded: those that come again, while there is room for their recordings."""

from __future__ import annotations

from dataclasses import dataclass

from demitasse.layers.backend.contract import Backend
from demitasse.netdef.recorded_pass import Pass

ORDINARY_PASSES = 3  # of a set of sizes before one is recorded, which takes the time of several
MAX_RECORDINGS = 4  # each keeps the memory of a whole pass
PATIENCE = 64  # forward passes after which a recording that was not used gives way to another
MAX_SIZES = 1024  # of which the passes are counted


@dataclass
class RecordedPasses:
    """The passes of one set of sizes."""

    forward: Pass
    backward: Pass | None = None
    used_at: int = 0

    @property
    def stale(self) -> bool:
        """Whether it does not launch any more what would be chosen now."""
        return any(done is not None and done.launched.stale for done in (self.forward, self.backward))


class RecordedSizes:
    """The recordings by sizes.  rehearsed: the sizes that an ordinary backward pass has run at."""

    def __init__(self, backend: Backend):
        self.backend = backend
        self.recordings: dict[tuple, RecordedPasses] = {}  # the last used last
        self.rehearsed: set[tuple] = set()
        self._visits: dict[tuple, int] = {}  # forward passes by sizes
        self._passes = 0

    def find(self, sizes: tuple) -> RecordedPasses | None:
        """The recording of these sizes for a forward pass, if there is one; that it is asked for counts as a visit."""
        self._passes += 1
        recording = self.recordings.pop(sizes, None)
        if recording is None:
            self._count(sizes)
        elif recording.stale:
            self._let_go(sizes, recording)
        else:
            return self.put(sizes, recording)
        return None

    def _count(self, sizes: tuple) -> None:
        if len(self._visits) >= MAX_SIZES:
            self._visits.clear()
        self._visits[sizes] = self._visits.get(sizes, 0) + 1

    def put(self, sizes: tuple, recording: RecordedPasses) -> RecordedPasses:
        """Keep a recording, which is used now; and give it."""
        recording.used_at = self._passes
        self.recordings[sizes] = recording
        return recording

    def deserve(self, sizes: tuple) -> bool:
        """Whether a recording of these sizes is worth it: they come again, and there is or can be made room.

        Where more sizes than that take turns, those recorded first stay.
        """
        if self._visits.get(sizes, 0) <= ORDINARY_PASSES:
            return False
        oldest, full = next(iter(self.recordings), ()), len(self.recordings) >= MAX_RECORDINGS
        if full and self._passes - self.recordings[oldest].used_at < PATIENCE:
            return False
        if not self.backend.has_room_to_record():  # which takes its time: asked last
            return False
        if full:
            self._let_go(oldest, self.recordings.pop(oldest))
        return True

    def _let_go(self, sizes: tuple, recording: RecordedPasses) -> None:
        """Ordinary passes come first again at these sizes."""
        self.backend.synchronize()  # it may still be running
        self._visits[sizes] = 1 if recording.stale else 0
        self.rehearsed.discard(sizes)

    def clear(self) -> None:
        """Forget all of it."""
        self.forget_recordings()
        self._visits.clear()

    def forget_recordings(self) -> None:
        """Forget them, but not which sizes come again."""
        if self.recordings:
            self.backend.synchronize()
        self.recordings.clear()
        self.rehearsed.clear()
