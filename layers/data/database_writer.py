"""Databases written anew: LMDB and LevelDB folders that appear when they are whole."""

from __future__ import annotations

import os
import secrets
import shutil

from demitasse.layers.data.database import library
from demitasse.proto.errors import DataFault
from demitasse.proto.files import remove_leftovers


def create_database(path: str, backend: str):
    """A writer of a new database, "lmdb" or "leveldb"; a context manager that leaves all of it or nothing.

    DataFault for another backend, or where it cannot be made.
    """
    if backend not in ("lmdb", "leveldb"):
        raise DataFault(f"backend '{backend}' is not known; choose lmdb or leveldb")
    if os.path.exists(path):
        raise DataFault(f"'{path}' exists already; remove it, or give the database another name")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise DataFault(f"the folder '{folder}' does not exist; make it first")
    return (LmdbWriter if backend == "lmdb" else LevelDbWriter)(path)


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
        self._lmdb = library("lmdb", "an LMDB", self.path)
        try:
            self._handle = self._lmdb.open(os.fsencode(self._folder), map_size=64 << 20, lock=False)
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
        self._plyvel = library("plyvel", "a LevelDB", self.path)
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
