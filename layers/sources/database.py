"""LMDB and LevelDB folders of key-value records, read in the order of their keys, written so that Caffe reads them.

What a folder holds is seen from its files, so a prototxt's `backend` field need not be right.  The libraries are
optional: `plyvel` for LevelDB, `lmdb` to write an LMDB (lmdb_file.py reads it); they are imported here alone.
"""

from __future__ import annotations

import importlib
import os
import shutil
import threading

from demitasse.layers.sources.files import require_file
from demitasse.layers.sources.lmdb_file import LmdbFile
from demitasse.proto.errors import DataFault

_open_handles: dict[str, list] = {}  # real path -> [handle, users]: both libraries refuse a second opening
_lock = threading.Lock()


def open_database(path: str, field: str):
    """A reader of the database in a folder; `field` names the path in errors."""
    require_file(path, field)
    if os.path.exists(os.path.join(path, "data.mdb")) or os.path.isfile(path):
        return LmdbReader(path, field)
    if os.path.exists(os.path.join(path, "CURRENT")):
        return LevelDbReader(path, field)
    raise DataFault(f"{field}: '{path}' is neither an LMDB (it has no data.mdb) nor a LevelDB (no CURRENT)")


def create_database(path: str, backend: str):
    """A writer of a new database, "lmdb" or "leveldb"; a context manager that leaves all of it or nothing."""
    if backend not in ("lmdb", "leveldb"):
        raise DataFault(f"backend '{backend}' is not known; choose lmdb or leveldb")
    if os.path.exists(path):
        raise DataFault(f"'{path}' exists already; remove it, or give the database another name")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise DataFault(f"the folder '{folder}' does not exist; make it first")
    return (LmdbWriter if backend == "lmdb" else LevelDbWriter)(path)


def _library(name: str, extra: str, path: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataFault(
            f"'{path}' is a {extra} database, which needs the Python package {name}: pip install {name}"
        ) from None


class _Reader:
    """Records by their place in the order of keys, counted on beyond the end: the data set repeats.

    To be closed after use, by `close` or `with`.
    """

    def __init__(self, path: str, field: str):
        self.path, self._field = path, field
        self._key = os.path.realpath(path)
        with _lock:
            entry = _open_handles.get(self._key)
            if entry is None:
                entry = _open_handles[self._key] = [self._open(), 0]
            entry[1] += 1
        self._handle = entry[0]

    def close(self) -> None:
        """Let go of the database; the last user closes it."""
        if self._handle is None:
            return
        self._handle = None
        with _lock:
            entry = _open_handles[self._key]
            entry[1] -= 1
            if not entry[1]:
                del _open_handles[self._key]
                entry[0].close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    def place(self, key: bytes) -> str:
        """A record's name for errors."""
        return f"key '{key.decode(errors='backslashreplace')}' of {self.path}"


class LmdbReader(_Reader):
    """An LMDB, read without its library and without a lock file (data sets often lie on read-only disks)."""

    def __init__(self, path: str, field: str):
        super().__init__(path, field)
        self.count = self._handle.count
        self._places, self._at = self._handle.places(), -1  # where `record` is, in the order of keys
        if not self.count:
            self.close()
            raise DataFault(f"{field}: the LMDB '{path}' is empty")

    def _open(self):
        file = os.path.join(self.path, "data.mdb") if os.path.isdir(self.path) else self.path
        try:
            return LmdbFile(file)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataFault(f"{self._field}: '{self.path}' is not a readable LMDB: {reason}") from None

    def read(self, index: int) -> tuple[bytes, bytes]:
        """(key, value) of record `index` modulo the count; going on from the last one costs least."""
        index %= self.count
        try:
            if index < self._at or self._at < 0:
                self._places, self._at = self._handle.places(index), index
                self._place = next(self._places, None)
            while self._at < index and self._place is not None:
                self._place = next(self._places, None)
                self._at += 1
            if self._place is None:
                raise ValueError("there are no more records")
            return self._handle.record(self._place)
        except ValueError as error:
            self._at = -1
            raise DataFault(f"'{self.path}' is damaged at record {index} of {self.count}: {error}") from None

    def __iter__(self):
        """(key, value) of every record once."""
        try:
            for place in self._handle.places():
                yield self._handle.record(place)
        except ValueError as error:
            raise DataFault(f"'{self.path}' is damaged: {error}") from None


class LevelDbReader(_Reader):
    """A LevelDB folder; it does not know how many records it holds until the end was reached once."""

    def __init__(self, path: str, field: str):
        self._plyvel = _library("plyvel", "LevelDB", path)
        super().__init__(path, field)
        self.count = None
        self._restart()
        if self._record is None:
            self.close()
            raise DataFault(f"{field}: the LevelDB '{path}' is empty")

    def _open(self):
        try:
            return self._plyvel.DB(self.path)
        except self._plyvel.Error as error:
            raise DataFault(f"{self._field}: '{self.path}' is not a readable LevelDB: {error}") from None

    def _restart(self) -> None:
        self._records, self._at = self._handle.iterator(), 0
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
        yield from self._handle.iterator()

    def close(self) -> None:
        if self._handle is not None:
            self._records.close()
        super().close()


class _Writer:
    """Records collected and written by the hundred, into a folder that gets its name when it is whole."""

    LIMIT = 16 << 20  # bytes of records per transaction

    def __init__(self, path: str):
        self.path = path
        self._whole = os.path.abspath(path)
        self._folder = f"{self._whole}.partial-{os.getpid()}"
        os.mkdir(self._folder)
        self._pending, self._bytes = [], 0
        try:
            self._open()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def put(self, key: bytes, value: bytes) -> None:
        self._pending.append((key, value))
        self._bytes += len(value)
        if self._bytes > self.LIMIT or len(self._pending) >= 1000:
            self._flush()

    def _flush(self) -> None:
        self._write(self._pending)
        self._pending, self._bytes = [], 0

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            try:
                if kind is None:
                    self._flush()
            finally:
                self._close()
            if kind is None:
                os.rename(self._folder, self._whole)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


class LmdbWriter(_Writer):
    """A new LMDB; its map grows as it fills."""

    def _open(self) -> None:
        self._lmdb = _library("lmdb", "LMDB", self.path)
        self._handle = self._lmdb.open(self._folder, map_size=64 << 20)

    def _write(self, records) -> None:
        while True:
            try:
                with self._handle.begin(write=True) as transaction:
                    for key, value in records:
                        transaction.put(key[: self._handle.max_key_size()], value)
                return
            except self._lmdb.MapFullError:
                self._handle.set_mapsize(2 * self._handle.info()["map_size"])
            except self._lmdb.Error as error:
                raise DataFault(f"'{self.path}' cannot be written: {error}") from None

    def _close(self) -> None:
        self._handle.close()


class LevelDbWriter(_Writer):
    """A new LevelDB."""

    def _open(self) -> None:
        self._plyvel = _library("plyvel", "LevelDB", self.path)
        self._handle = self._plyvel.DB(self._folder, create_if_missing=True, write_buffer_size=64 << 20)

    def _write(self, records) -> None:
        try:
            with self._handle.write_batch() as batch:
                for key, value in records:
                    batch.put(key, value)
        except self._plyvel.Error as error:
            raise DataFault(f"'{self.path}' cannot be written: {error}") from None

    def _close(self) -> None:
        self._handle.close()
