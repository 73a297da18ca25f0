"""HDF5 files through h5py, an optional package."""

from __future__ import annotations

import functools

from demitasse.layers.data.prefetch import watch_forks
from demitasse.proto import hdf5
from demitasse.proto.errors import DataFault


def library(purpose: str):
    """The h5py module."""
    h5py = hdf5.library(lambda: DataFault(f"{purpose} needs the Python package h5py: pip install h5py"))
    _watch_forks()
    return h5py


@functools.cache
def _watch_forks() -> None:
    watch_forks()  # again, now that h5py has registered its lock


def dataset(file, name: str, where: str):
    """The dataset of that name, which may lie in groups; None where there is none.

    DataFault where it is not in this file: whoever has made the file would choose what else is read here.
    """
    h5py, found = library("HDF5Data"), file
    for part in filter(None, name.split("/")):
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            target = f"{link.filename}:" if isinstance(link, h5py.ExternalLink) else ""
            raise DataFault(f"{where}: dataset '{name}' is a link to {target}{link.path}; store the data itself")
        found = found[part]
    if not isinstance(found, h5py.Dataset):
        return None
    if found.is_virtual or found.external:
        raise DataFault(f"{where}: dataset '{name}' lies in another file; store the data itself")
    return found
