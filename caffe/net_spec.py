"""Nets written in Python: netdef/spec.py under pycaffe's names."""

from demitasse.netdef.fields import assign as assign_proto
from demitasse.netdef.spec import Function, L, NetSpec, P, Top, to_proto

__all__ = ["Function", "NetSpec", "Top", "assign_proto", "layers", "params", "to_proto"]
layers, params = L, P
