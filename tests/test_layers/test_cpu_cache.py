"""Compiled kernels on disk: a cache can always be missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTHING_SHIPPED = {"DEMITASSE_PROCESSOR": "native"}
USE = """
import errno, os, sys, tempfile
import numpy as np

def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")

if "full" in sys.argv:
    tempfile.NamedTemporaryFile = full
if "nowhere" in sys.argv:
    tempfile.tempdir = os.environ["HOME"]
if "twice" in sys.argv and (child := os.fork()):  # the child is the first
    assert os.waitpid(child, 0)[1] == 0
from demitasse.layers.backend.cpu import CpuBackend
assert CpuBackend(threads=1).relu_forward(np.full(4, -2, np.float32), 0.5).tolist() == [-1] * 4
print(int("numba" not in sys.modules))
"""


def use(place, *args):
    """([whether all kernels came from the cache, without Numba, for each time], what was said on stderr)."""
    done = subprocess.run(
        [sys.executable, "-c", USE, *args],
        cwd=ROOT,
        env=os.environ | {"DEMITASSE_CACHE": str(place), "XDG_CACHE_HOME": "", "HOME": str(place)} | NOTHING_SHIPPED,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [line == "1" for line in done.stdout.split()], done.stderr


def cut(path):
    path.write_bytes(path.read_bytes()[:40])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    text = bytearray(path.read_bytes())
    text[len(text) // 2] ^= 255
    path.write_bytes(text)


def garbage(path):
    path.write_bytes(os.urandom(1000))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder with compiled kernels."""
    folder = tmp_path_factory.mktemp("cache")
    assert use(folder, "twice") == ([False, True], "")
    return folder


@pytest.mark.parametrize("damage", [cut, empty, flip, garbage])
def test_damaged_files_are_compiled_anew(damage, cache):
    damaged = list(cache.rglob("*relu_forward*"))
    for path in damaged:
        damage(path)
    (hit, again), said = use(cache, "twice")
    assert damaged and not hit and again
    assert said.startswith("demitasse: compiling kernels anew: files in ") and str(damaged[0].parent) in said
    assert said.count("\n") == 1


def test_a_full_disk_costs_only_time(tmp_path):
    (hit,), said = use(tmp_path, "full")
    assert not hit and "No space left on device" in said and "DEMITASSE_CACHE" in said and str(tmp_path) in said
    assert said.count("\n") == 1


def test_no_place_to_write(tmp_path):
    place = tmp_path / "file"
    place.touch()
    (hit,), said = use(place, "nowhere")
    assert not hit and said.startswith("demitasse: compiled kernels are not kept") and said.count("\n") == 1
