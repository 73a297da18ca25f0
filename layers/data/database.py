"""LMDB and LevelDB folders of key-value records, read in the order of their keys (database_writer.py writes them).

What a folder holds is seen from its files, so a prototxt's `backend` field need not be right.  The libraries are
optional: `plyvel` for LevelDB, `lmdb` to write an LMDB (lmdb_file.py reads it); they are imported by `library` alone.
"""

from __future__ import annotations

import importlib
import os
import threading
import weakref
from bisect import bisect_right
from itertools import accumulate

from demitasse.layers.data.files import require_file
from demitasse.layers.data.lmdb_file import LmdbFile
from demitasse.proto.errors import DataFault

# LevelDB refuses a second opening: its readers share one.  A database is known by its LOCK (device, inode), which is
# held open: one made anew under its name is another.
_open_leveldbs: weakref.WeakValueDictionary[tuple[int, int], _LevelDb] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def open_database(path: str, field: str):
    """A reader of the database in a folder; `field` names the path in errors.

    DataFault where the folder is neither.
    """
    require_file(path, field)
    if os.path.exists(os.path.join(path, "data.mdb")) or os.path.isfile(path):
        return LmdbReader(path, field)
    if os.path.exists(os.path.join(path, "CURRENT")):
        return LevelDbReader(path, field)
    raise DataFault(
        f"{field}: '{path}' is neither an LMDB (it has no data.mdb) nor a LevelDB (no CURRENT); "
        "`demitasse convert_imageset` makes one of images and their labels"
    )


def library(name: str, kind: str, path: str):
    """The module of that name; DataFault, with what to install for "an LMDB" (`kind`), without it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataFault(
            f"'{path}' is {kind} database, which needs the Python package {name}: pip install {name}"
        ) from None


class _Reader:
    """Records by their position in the order of keys, counted on beyond the end: the data set repeats.

    To be closed after use, by `close` or `with`; losing the last reference closes it, too.
    """

    path = ""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError

    def where(self, key: bytes) -> str:
        """A record's name for errors."""
        return f"key '{key.decode(errors='backslashreplace')}' of {self.path}"


class LmdbReader(_Reader):
    """An LMDB, read without its library and without a lock file (data sets often lie on read-only disks)."""

    def __init__(self, path: str, field: str):
        self.path = path
        try:
            self._file = LmdbFile(os.path.join(path, "data.mdb") if os.path.isdir(path) else path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataFault(f"{field}: '{path}' is not a readable LMDB: {reason}") from None
        self.count = self._file.count
        self._leaves = None  # the pages that hold records, and how many lie in them and all before
        self._addresses, self._at = self._file.addresses(), -1  # where `_address` is, in the order of keys
        if not self.count:
            self.close()
            raise DataFault(f"{field}: the LMDB '{path}' is empty")

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def read(self, index: int) -> tuple[bytes, bytes]:
        """(key, value) of record `index` modulo the count; going on from the last one costs least.

        DataFault where the file is damaged.
        """
        index %= self.count
        try:
            if index < self._at or self._at < 0:
                self._addresses, self._at = self._file.addresses(index), index
                self._address = next(self._addresses, None)
            while self._at < index and self._address is not None:
                self._address = next(self._addresses, None)
                self._at += 1
            if self._address is None:
                raise self._file.damage("there are no more records")
            return self._file.record(self._address)
        except (OSError, ValueError) as error:
            self._at = -1
            raise DataFault(f"'{self.path}' is damaged at record {index} of {self.count}: {error}") from None

    def read_anywhere(self, index: int) -> tuple[bytes, bytes]:
        """(key, value) of record `index`, for reading in any order: the first call looks through all pages once.

        DataFault where the file is damaged.
        """
        try:
            if self._leaves is None:
                leaves = [(number, len(nodes)) for number, _, nodes in self._file.leaves()]
                self._leaves = [number for number, _ in leaves], list(accumulate(count for _, count in leaves))
            numbers, ends = self._leaves
            leaf = bisect_right(ends, index)
            if leaf == len(ends):
                raise self._file.damage("there are no more records")
            first = ends[leaf - 1] if leaf else 0
            return self._file.record(self._file.address(numbers[leaf], index - first))
        except (OSError, ValueError, IndexError) as error:
            raise DataFault(f"'{self.path}' is damaged at record {index} of {self.count}: {error}") from None

    def __iter__(self):
        """(key, value) of every record once."""
        try:
            for address in self._file.addresses():
                yield self._file.record(address)
        except (OSError, ValueError) as error:
            raise DataFault(f"'{self.path}' is damaged: {error}") from None


class _LevelDb:
    """An open LevelDB, closed with the last reference."""

    def __init__(self, database):
        self.database = database


class LevelDbReader(_Reader):
    """A LevelDB folder; it does not know how many records it holds until the end was reached once."""

    def __init__(self, path: str, field: str):
        self._plyvel = library("plyvel", "a LevelDB", path)
        self.path, self.count = path, None
        with _lock:
            self._handle = self._open(field)
        self._restart()
        if self._record is None:
            self.close()
            raise DataFault(f"{field}: the LevelDB '{path}' is empty")

    def _open(self, field: str) -> _LevelDb:
        lock = os.path.join(self.path, "LOCK")
        identity = _identity(lock)
        handle = _open_leveldbs.get(identity)
        if handle is None:
            try:
                handle = _LevelDb(self._plyvel.DB(self.path))
            except self._plyvel.Error as error:
                raise DataFault(f"{field}: '{self.path}' is not a readable LevelDB: {error}") from None
            if identity := _identity(lock):
                _open_leveldbs[identity] = handle
        return handle

    def _restart(self) -> None:
        self._records, self._at = self._handle.database.iterator(), 0
        self._record = self._following()

    def _following(self):
        try:
            return next(self._records, None)
        except self._plyvel.Error as error:
            raise DataFault(f"'{self.path}' is damaged after record {self._at}: {error}") from None

    def read(self, index: int) -> tuple[bytes, bytes]:
        """(key, value) of record `index` modulo the count; going on from the last one costs least."""
        if self.count:
            index %= self.count
        if index < self._at:
            self._restart()
        while self._at < index:
            self._record = self._following()
            self._at += 1
            if self._record is None:
                self.count = self._at
                self._restart()
                index %= self.count
        return self._record

    def __iter__(self):
        """(key, value) of every record once."""
        yield from self._handle.database.iterator()

    def close(self) -> None:
        """Release the database."""
        self._records = self._handle = None


def _identity(path: str) -> tuple[int, int] | None:
    """(device, inode) of what is at a path; None where there is nothing."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino
