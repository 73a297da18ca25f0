"""LMDB's data file, read as what it is: pages of records sorted by key, in a tree.

The library trusts its file, and a damaged one ends the process; here every offset is checked against the bytes that
are there, and pages are read, not mapped: a file that is cut off meanwhile would take the process with it.

Databases are those that 64-bit machines write, with one value for each key, as Caffe's have.

    page    number (8 bytes), 2 unused, flags (2), end of the list of nodes (2), 2 unused; then the nodes' offsets
    node    size (4 bytes; in a branch, with the flags, the number of the page below), flags (2), size of the key (2);
            then the key, and the value or, where it is big, the number of the first of its own pages
"""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Iterator

MAGIC, VERSION = 0xBEEFC0DE, 1
BRANCH, LEAF = 1, 2  # kinds of pages
BIG = 1  # flag of a node: its value has pages of its own
HEADER, DEEPEST, NOWHERE = 16, 64, 2**64 - 1
_META = struct.Struct("<2I 2Q  I 2H 5Q  I 2H 5Q  2Q")
_PAGE, _NODE, _NUMBER = struct.Struct("<8x 2x 3H"), struct.Struct("<4H"), struct.Struct("<Q")


class LmdbFile:
    """The records of a data.mdb.  ValueError, wherever it is damaged; `count`: how many there are.

    The file is closed by `close`, or with the last reference to this.
    """

    def __init__(self, path: str):
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | os.O_CLOEXEC)
        self.close = weakref.finalize(self, os.close, self._file)
        try:
            self._opened = self._stamp()
            self._read_meta(self._opened[0])
        except BaseException:
            self.close()
            raise

    def _stamp(self) -> tuple[int, int]:
        """(size, time of the last change) of the file."""
        about = os.fstat(self._file)
        return about.st_size, about.st_mtime_ns

    def _read(self, begin: int, size: int) -> bytes:
        data = os.pread(self._file, size, begin) if size <= self._opened[0] else b""
        while len(data) < size:  # a read gives at most 2 GB
            more = os.pread(self._file, size - len(data), begin + len(data))
            if not more:
                raise self.damage(f"it ends before byte {begin + size}")
            data += more
        return data

    def damage(self, what: str) -> ValueError:
        """What is wrong with the file, or that it is not the file any more that was opened."""
        if self._stamp() != self._opened:
            what += " (it was written anew while it was read: close the net first, or write to another folder)"
        return ValueError(what)

    def _read_meta(self, size: int) -> None:
        if size < HEADER + _META.size:
            raise ValueError(f"it has {size} bytes, too few for one: was it copied to the end?")
        first = self._meta(0)
        self.page_size = first[4]  # kept in a field that the first of the two trees has no other use for
        if self.page_size < 256 or self.page_size > 1 << 16 or self.page_size & (self.page_size - 1):
            raise ValueError(f"its pages have {self.page_size} bytes")
        both = [first, self._meta(self.page_size)] if 2 * self.page_size <= size else [first]
        newest = max(both, key=lambda meta: meta[-1])
        flags, self.count, self.root, self.pages = newest[13], newest[18], newest[19], newest[20] + 1
        if self.pages * self.page_size > size:
            raise ValueError(
                f"it is cut off: it has {size} bytes and its {self.pages} pages need more; copy or convert it again"
            )
        if flags & 4:
            raise ValueError("it has several values for a key")

    def _meta(self, at: int) -> tuple[int, ...]:
        fields = _META.unpack(self._read(at + HEADER, _META.size))
        if fields[:2] != (MAGIC, VERSION):
            raise ValueError("it does not begin like an LMDB file")
        return fields

    def addresses(self, skip: int = 0) -> Iterator[tuple[bytes, int]]:
        """Where each record is (its page, and the offset in it), in the order of keys, after the first `skip`."""
        for _, page, nodes in self.leaves():
            yield from ((page, node) for node in nodes[skip:])
            skip = max(0, skip - len(nodes))

    def address(self, leaf: int, number: int) -> tuple[bytes, int]:
        """Where record `number` of the page `leaf` is."""
        page, _, nodes = self._page(leaf)
        return page, nodes[number]

    def leaves(self) -> Iterator[tuple[int, bytes, tuple[int, ...]]]:
        """(number, bytes, offsets of the records) of each page that holds some, in the order of keys."""
        todo: list[Iterator[int]] = [iter([] if self.root == NOWHERE else [self.root])]
        seen = 0
        while todo:
            number = next(todo[-1], None)
            if number is None:
                todo.pop()
                continue
            seen += 1
            if seen > self.pages or len(todo) > DEEPEST:
                raise self.damage("its pages form a circle")
            page, flags, nodes = self._page(number)
            if flags & BRANCH:
                todo.append(iter([_below(page, node) for node in nodes]))
            elif not flags & LEAF:
                raise self.damage(f"page {number} holds no records")
            else:
                yield number, page, nodes

    def _page(self, number: int) -> tuple[bytes, int, tuple[int, ...]]:
        """(its bytes, flags, offsets of the nodes)."""
        if number >= self.pages:
            raise self.damage(f"page {number} of {self.pages} does not exist")
        page = self._read(number * self.page_size, self.page_size)
        flags, lower, _ = _PAGE.unpack_from(page)
        if not HEADER <= lower <= self.page_size:
            raise self.damage(f"page {number} is damaged")
        nodes = struct.unpack_from(f"<{(lower - HEADER) // 2}H", page, HEADER)
        if nodes and max(nodes) + _NODE.size > self.page_size:
            raise self.damage(f"page {number} is damaged")
        return page, flags, nodes

    def record(self, address: tuple[bytes, int]) -> tuple[bytes, bytes]:
        """(key, value) of the record at an address."""
        page, at = address
        low, high, flags, key_size = _NODE.unpack_from(page, at)
        begin, size = at + _NODE.size, low | high << 16
        value = begin + key_size
        if flags & ~BIG or value + (_NUMBER.size if flags & BIG else size) > self.page_size:
            raise self.damage("a record does not end in its page")
        key = page[begin:value]
        if not flags & BIG:
            return key, page[value : value + size]
        (number,) = _NUMBER.unpack_from(page, value)
        first = number * self.page_size + HEADER
        if first + size > self.pages * self.page_size:
            raise self.damage(f"a record of {size} bytes goes beyond the end")
        return key, self._read(first, size)


def _below(page: bytes, at: int) -> int:
    """The number of the page that a branch's node leads to."""
    low, middle, high, _ = _NODE.unpack_from(page, at)
    return low | middle << 16 | high << 32
