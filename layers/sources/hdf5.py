"""HDF5 files through h5py, an optional package."""

from __future__ import annotations

from demitasse.proto.errors import DataFault


def library(purpose: str):
    """The h5py module."""
    try:
        import h5py
    except ImportError:
        raise DataFault(f"{purpose} needs the Python package h5py: pip install h5py") from None
    return h5py
