"""Caffe's HDF5 files: /data/<layer>/<i> (and /diff/...) for weights; /iter, /history/<i>, ... for solver states.

h5py is imported here only, when such a file is met.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Callable
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from demitasse.proto.caffemodel import SolverFile
from demitasse.proto.errors import NetError
from demitasse.proto.files import DEFLATE_RATIO, fault, replacing, require_room

# What h5py raises of files that are not as they should be.
_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, OverflowError, MemoryError)
_NAME = "layer_name"  # attribute of a layer's group, where that cannot be called as the layer


def require_library(path: str | os.PathLike) -> None:
    """WeightsFault where a file of this kind, called `path`, cannot be read or written here."""
    _h5py(path)


def library(missing: Callable[[], NetError]) -> ModuleType:
    """The h5py module; raises what `missing` gives where it is not installed."""
    try:
        import h5py
    except ImportError:
        raise missing() from None
    return h5py


def _h5py(path):
    return library(lambda: fault(path, "HDF5 files need the package h5py: pip install h5py"))


@contextmanager
def _opened(path):
    h5py = _h5py(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except NetError:
        raise
    except _DAMAGE as error:
        raise fault(path, "damaged or truncated HDF5 file", error) from None


@contextmanager
def _created(path):
    """A new file, which takes the path's place when all of it is written."""
    h5py = _h5py(path)
    with replacing(path) as temporary, _Target(temporary) as target:
        with h5py.File(target, "w") as file:
            yield file
        if target.failure:
            raise target.failure


class _Target:
    """The file that HDF5 writes to.  It never fails, but keeps the first failure for the end: on a full disk HDF5
    cannot even close, and brings the process down."""

    def __init__(self, path):
        self.file, self.failure = open(path, "w+b", buffering=0), None

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.file.close()

    def write(self, data) -> int:
        view = memoryview(data)
        try:
            while view and not self.failure:
                view = view[self.file.write(view) :]
        except OSError as error:
            self.failure = error
        return len(data)

    def read(self, size: int) -> bytes:
        return self.file.read(size)

    def readinto(self, buffer) -> int:
        view = memoryview(buffer)
        view[:] = bytes(len(view))  # what was never written reads as zeros
        self.file.readinto(view)
        return len(view)

    def truncate(self, size: int) -> int:
        try:
            return self.file.truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def flush(self) -> None:
        """Nothing is buffered."""


def _is_group(file, name: str) -> bool:
    return isinstance(_own(file, name), _h5py(name).Group)


def _own(group, name: str):
    """A group's member of that name, None where it has none; WeightsFault for a link: it may lead to other files."""
    link = group.get(name, getlink=True)
    if link is not None and not isinstance(link, _h5py("").HardLink):
        goal = f"{getattr(link, 'filename', '')}:{link.path}".lstrip(":")
        raise fault(
            group.file.filename,
            f"{group.name.rstrip('/')}/{name} is a link to {goal}, and links are not followed: "
            "copy what it leads to into the file (h5repack does)",
        )
    return None if link is None else group[name]


def _members(group) -> list[tuple[str, object]]:
    """(name, object) of what lies in a group itself."""
    return [(name, _own(group, name)) for name in group]


def _address(item) -> tuple[int, int]:
    about = _h5py("").h5o.get_info(item.id)
    return about.fileno, about.addr


def _read(dataset, path, dtype=np.float32) -> np.ndarray:
    """A dataset's values, once its size is seen to fit its bytes in the file."""
    if not isinstance(dataset, _h5py(path).Dataset):
        raise fault(path, f"{dataset.name} is no array but a {type(dataset).__name__}")
    if dataset.is_virtual or dataset.external:
        raise fault(path, f"{dataset.name} lies in another file")
    if dataset.dtype.kind not in "fiu":
        raise fault(path, f"{dataset.name} holds no numbers but {dataset.dtype}")
    stored = min(dataset.id.get_storage_size(), os.path.getsize(path))
    if dataset.size * dataset.dtype.itemsize > stored * (DEFLATE_RATIO if dataset.compression else 1):
        raise fault(path, f"{dataset.name} promises {dataset.size:,} values, but the file has {stored:,} bytes of it")
    require_room(path, dataset.size * dataset.dtype.itemsize)
    return dataset[()].astype(dtype, copy=False)


def read_weights(path: str | os.PathLike, part: str = "data") -> dict[str, list]:
    """{layer: arrays}, alphabetical as HDF5 keeps them, layers without arrays left out.

    An array that Caffe left out because another layer shares and owns it is None.  part: "data" or "diff".
    """
    h5py = _h5py(path)
    layers: dict[str, list] = {}
    with _opened(path) as file:
        if not _is_group(file, "data"):
            raise fault(
                path,
                "this file holds a solver's state: give the .caffemodel.h5"
                if _is_group(file, "history")
                else "not Caffe's weights: there is no group /data of layers in it",
            )
        groups = [("", file[part])] if _is_group(file, part) else []
        if part == "data":  # where Caffe puts the layer '/conv1'
            groups += [
                (f"/{name}", file[name])
                for name in file
                if name not in ("data", "diff")
                and file.get(name, getclass=True, getlink=True) is h5py.HardLink
                and isinstance(file[name], h5py.Group)
            ]
        seen: set = set()
        known: dict = {}  # arrays by their address: hard links share them
        while groups:  # a layer's name may hold slashes: then its group lies inside others
            name, group = groups.pop(0)
            if _address(group) in seen:
                raise fault(path, f"{group.name} has several names (hard links): it is in a circle, or there twice")
            seen.add(_address(group))
            if _NAME in group.attrs:
                name = _text(group.attrs[_NAME], path)
            arrays = {}
            for key, member in _members(group):
                if isinstance(member, h5py.Group):
                    groups.append((f"{name}/{key}" if name else key, member))
                elif key.isdecimal() and group.name != f"/{part}":
                    address = _address(member)
                    if address not in known:
                        known[address] = _read(member, path)
                    arrays[int(key)] = known[address]
            if arrays:
                if max(arrays) > 4096:
                    raise fault(path, f"layer '{name}' has an array number {max(arrays)}")
                if name in layers:
                    raise fault(path, f"layer '{name}' is there twice")
                layers[name] = [arrays.get(i) for i in range(max(arrays) + 1)]
    return layers


def write_weights(path: str | os.PathLike, layers: dict[str, list], grads: dict[str, list] | None = None) -> None:
    """Write layers, those without arrays as empty groups; an array that is None is left out, as Caffe does."""
    with _created(path) as file:
        for part, content in (("data", layers), ("diff", grads)):
            if content is not None:
                group = file.create_group(part)
                for name, arrays in content.items():
                    _write_layer(group, name, arrays, path)


def _write_layer(group, name: str, arrays: list, path) -> None:
    try:
        layer = _layer_group(group, name)
        for i, values in enumerate(arrays):
            if values is not None:
                layer.create_dataset(str(i), data=np.asarray(values, "<f4"))
    except (ValueError, TypeError) as error:
        raise fault(path, f"HDF5 cannot hold a layer of the name '{name}'", error) from None


def _layer_group(group, name: str):
    """The group of a layer: under its own name as in Caffe's files, where HDF5 takes the name for what it is.

    It takes a name for a path: of '/conv', 'a//b', './c' or 'x/' another name would be left, and 'conv/0' is the
    place of an array of 'conv'.  Such a group has a name of its own, and the layer's as an attribute.
    """
    first, *others = name.split("/")
    unlike = any(part in ("", ".") or "\0" in part or part.endswith("%") for part in (first, *others))
    if not unlike and not any(part.isdecimal() for part in others):
        return group.require_group(name)
    layer = group.create_group(urllib.parse.quote(name, safe=" ").replace(".", "%2E") + "%")
    layer.attrs[_NAME] = np.void(name.encode())
    return layer


def _text(value, path) -> str:
    """The name that `_layer_group` has kept."""
    if not isinstance(value, np.void):
        raise fault(path, f"the attribute {_NAME} is no text")
    return value.tobytes().decode("utf-8", "replace")


def read_state(path: str | os.PathLike) -> SolverFile:
    """A .solverstate.h5."""
    with _opened(path) as file:
        if _own(file, "iter") is None or not _is_group(file, "history"):
            raise fault(
                path,
                "this file holds the weights of a net: give the .solverstate.h5"
                if _is_group(file, "data")
                else "not a solver's state: /iter and the group /history are missing",
            )
        members = {key: member for key, member in _members(file["history"]) if key.isdecimal()}
        if sorted(map(int, members)) != list(range(len(members))):
            raise fault(path, "the history has gaps: its arrays are " + ", ".join(sorted(members, key=int)))
        history = [_read(members[str(i)], path) for i in range(len(members))]
        learned, steps = _own(file, "learned_net"), _own(file, "current_step")
        return SolverFile(
            _integer(file["iter"], path),
            "" if learned is None else str(learned.asstr()[()]),
            history,
            0 if steps is None else _integer(steps, path),
        )


def _integer(dataset, path) -> int:
    if not isinstance(dataset, _h5py(path).Dataset) or dataset.size != 1:
        raise fault(path, f"{dataset.name} is no single number")
    return int(_read(dataset, path, np.int64).reshape(-1)[0])


def write_state(path: str | os.PathLike, state: SolverFile) -> None:
    """A .solverstate.h5 as Caffe writes it."""
    with _created(path) as file:
        file.create_dataset("iter", data=np.array([state.iter], "<i4"))
        _write_string(file, "learned_net", state.learned_net)
        file.create_dataset("current_step", data=np.array([state.current_step], "<i4"))
        history = file.create_group("history")
        for i, values in enumerate(state.history):
            history.create_dataset(str(i), data=np.asarray(values, "<f4"))


def _write_string(file, name: str, text: str) -> None:
    """A scalar that C can read: with the zero at its end, which h5py leaves out and Caffe relies on."""
    h5py = _h5py(name)
    data = text.encode() + b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(data))
    dataset = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR))
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(data, f"S{len(data)}"), kind)
