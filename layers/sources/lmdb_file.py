"""LMDB's data file, read as what it is: pages of records sorted by key, in a tree.

The library trusts its file, and a damaged one ends the process; here every offset is checked against the bytes that
are there.  Databases are those that 64-bit machines write, with one value for each key, as Caffe's have.

    page    number (8 bytes), 2 unused, flags (2), end of the list of nodes (2), 2 unused; then the nodes' offsets
    node    size (4 bytes; in a branch, with the flags, the number of the page below), flags (2), size of the key (2);
            then the key, and the value or, where it is big, the number of the first of its own pages
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

MAGIC, VERSION = 0xBEEFC0DE, 1
BRANCH, LEAF = 1, 2  # kinds of pages
BIG = 1  # flag of a node: its value has pages of its own
HEADER, DEEPEST, NOWHERE = 16, 64, 2**64 - 1
_META = struct.Struct("<2I 2Q  I 2H 5Q  I 2H 5Q  2Q")
_PAGE, _NODE, _NUMBER = struct.Struct("<8x 2x 3H"), struct.Struct("<4H"), struct.Struct("<Q")


class LmdbFile:
    """The records of a data.mdb.  ValueError, wherever it is damaged; `count`: how many there are."""

    def __init__(self, path: str):
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < HEADER + _META.size:
                raise ValueError(f"it has {size} bytes, too few")
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._read_meta(size)
        except ValueError:
            self.close()
            raise

    def _read_meta(self, size: int) -> None:
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
        fields = _META.unpack_from(self.map, at + HEADER)
        if fields[:2] != (MAGIC, VERSION):
            raise ValueError("it does not begin like an LMDB file")
        return fields

    def close(self) -> None:
        self.map.close()

    def places(self, skip: int = 0) -> Iterator[int]:
        """Where each record is, in the order of keys, after the first `skip` of them."""
        todo: list[Iterator[int]] = [iter([] if self.root == NOWHERE else [self.root])]
        seen = 0
        while todo:
            number = next(todo[-1], None)
            if number is None:
                todo.pop()
                continue
            seen += 1
            if seen > self.pages or len(todo) > DEEPEST:
                raise ValueError("its pages form a circle")
            at, flags, nodes = self._page(number)
            if flags & BRANCH:
                todo.append(iter([self._below(node) for node in nodes]))
            elif not flags & LEAF:
                raise ValueError(f"page {number} holds no records")
            elif skip >= len(nodes):
                skip -= len(nodes)
            else:
                yield from nodes[skip:]
                skip = 0

    def _page(self, number: int) -> tuple[int, int, list[int]]:
        """(offset, flags, offsets of the nodes)."""
        if number >= self.pages:
            raise ValueError(f"page {number} of {self.pages} does not exist")
        at = number * self.page_size
        flags, lower, _ = _PAGE.unpack_from(self.map, at)
        if not HEADER <= lower <= self.page_size:
            raise ValueError(f"page {number} is damaged")
        nodes = struct.unpack_from(f"<{(lower - HEADER) // 2}H", self.map, at + HEADER)
        if nodes and max(nodes) + _NODE.size > self.page_size:
            raise ValueError(f"page {number} is damaged")
        return at, flags, [at + node for node in nodes]

    def _below(self, at: int) -> int:
        low, middle, high, _ = _NODE.unpack_from(self.map, at)
        return low | middle << 16 | high << 32

    def record(self, at: int) -> tuple[bytes, bytes]:
        """(key, value) of the record at a place."""
        low, high, flags, key_size = _NODE.unpack_from(self.map, at)
        begin, size = at + _NODE.size, low | high << 16
        value, end = begin + key_size, (at // self.page_size + 1) * self.page_size
        if flags & ~BIG or value + (_NUMBER.size if flags & BIG else size) > end:
            raise ValueError("a record does not end in its page")
        key = self.map[begin:value]
        if flags & BIG:
            (number,) = _NUMBER.unpack_from(self.map, value)
            value, end = number * self.page_size + HEADER, self.pages * self.page_size
            if value + size > end:
                raise ValueError(f"a record of {size} bytes goes beyond the end")
        return key, self.map[value : value + size]
