"""LMDB and LevelDB folders of key-value records, read in the order of their keys, written so that Caffe reads them.

What a folder holds is seen from its files, so a prototxt's `backend` field need not be right.  The libraries are
optional: `plyvel` for LevelDB, `lmdb` to write an LMDB (lmdb_file.py reads it); they are imported here alone.
"""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import threading
import weakref

from demitasse.layers.data.files import require_file
from demitasse.layers.data.lmdb_file import LmdbFile
from demitasse.proto.errors import DataFault
from demitasse.proto.files import remove_leftovers

# LevelDB refuses a second opening: its readers share one.  A database is known by its LOCK (device, inode), which is
# held open: one made anew in its place is another.
_open_leveldbs: weakref.WeakValueDictionary[tuple[int, int], _LevelDb] = weakref.WeakValueDictionary()
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

    To be closed after use, by `close` or `with`; losing the last reference closes it, too.
    """

    path = ""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError

    def place(self, key: bytes) -> str:
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
        self._places, self._at = self._file.places(), -1  # where `_place` is, in the order of keys
        if not self.count:
            self.close()
            raise DataFault(f"{field}: the LMDB '{path}' is empty")

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def read(self, index: int) -> tuple[bytes, bytes]:
        """(key, value) of record `index` modulo the count; going on from the last one costs least."""
        index %= self.count
        try:
            if index < self._at or self._at < 0:
                self._places, self._at = self._file.places(index), index
                self._place = next(self._places, None)
            while self._at < index and self._place is not None:
                self._place = next(self._places, None)
                self._at += 1
            if self._place is None:
                raise self._file.damage("there are no more records")
            return self._file.record(self._place)
        except (OSError, ValueError) as error:
            self._at = -1
            raise DataFault(f"'{self.path}' is damaged at record {index} of {self.count}: {error}") from None

    def __iter__(self):
        """(key, value) of every record once."""
        try:
            for place in self._file.places():
                yield self._file.record(place)
        except (OSError, ValueError) as error:
            raise DataFault(f"'{self.path}' is damaged: {error}") from None


class _LevelDb:
    """An open LevelDB, closed with the last reference."""

    def __init__(self, database):
        self.database = database


class LevelDbReader(_Reader):
    """A LevelDB folder; it does not know how many records it holds until the end was reached once."""

    def __init__(self, path: str, field: str):
        self._plyvel = _library("plyvel", "LevelDB", path)
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


class _Writer:
    """Records collected and written by the hundred, into a folder that gets its name when it is whole."""

    LIMIT = 16 << 20  # bytes of records per transaction

    def __init__(self, path: str):
        self.path = path
        self._whole = os.path.abspath(path)
        remove_leftovers(self._whole)  # of a process that was killed while it wrote
        folder, name = os.path.split(self._whole)
        self._folder = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.{os.getpid()}.tmp")
        self._pending, self._bytes = [], 0
        try:
            os.mkdir(self._folder)
        except OSError as error:
            raise DataFault(f"'{path}' cannot be written: {error.strerror}") from None
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

    def _fault(self, error: Exception) -> DataFault:
        """What a library says on a full disk, and what to do."""
        reason = " ".join(str(error).split()).replace(self._folder, self.path)
        return DataFault(f"'{self.path}' cannot be written: {reason}; nothing of it is left (is the disk full?)")

    def _rename(self) -> None:
        try:
            os.rename(self._folder, self._whole)
        except OSError as error:
            raise self._fault(error) from None

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
                self._rename()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


class LmdbWriter(_Writer):
    """A new LMDB; its map grows as it fills.

    It has no lock file while it is written, by one process under a name of its own: that is written to as memory, and
    on a full disk memory ends the process.
    """

    def _open(self) -> None:
        self._lmdb = _library("lmdb", "LMDB", self.path)
        try:
            self._handle = self._lmdb.open(self._folder, map_size=64 << 20, lock=False)
        except self._lmdb.Error as error:
            raise self._fault(error) from None

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
                raise self._fault(error) from None

    def _close(self) -> None:
        self._handle.close()


class LevelDbWriter(_Writer):
    """A new LevelDB."""

    def _open(self) -> None:
        self._plyvel = _library("plyvel", "LevelDB", self.path)
        try:
            self._handle = self._plyvel.DB(self._folder, create_if_missing=True, write_buffer_size=64 << 20)
        except self._plyvel.Error as error:
            raise self._fault(error) from None

    def _write(self, records) -> None:
        try:
            with self._handle.write_batch() as batch:
                for key, value in records:
                    batch.put(key, value)
        except self._plyvel.Error as error:
            raise self._fault(error) from None

    def _close(self) -> None:
        self._handle.close()
