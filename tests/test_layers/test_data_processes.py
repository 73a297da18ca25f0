"""Data layers where processes begin and end: every thread is waited for at exit, and a forked child reads on."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.test_layers.data_kinds import KINDS, folder_data, hdf5_data, image_data

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120  # seconds; what is tested here used to wait without end
# From 3.12 on Python warns a script that forks beside threads, whoever has them: here they are ready for it.
WARNINGS = ["-W", "error::ResourceWarning", "-W", "ignore:This process:DeprecationWarning"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


FORKS = """
import os, signal, sys
import numpy as np
from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net



def build():
    net = Net("net.prototxt", "TRAIN", backend=make_backend("generic"), seed=1)
    for layer in net.layers:
        if layer.type == "MemoryData":
            layer.set_input_arrays(np.arange(240).reshape(12, 1, 4, 5), np.arange(12))
    return net


def batches(net, count):
    return b"".join(np.asarray(array).tobytes() for _ in range(count) for array in net.forward().values())


state = build().state()  # the folder layer's seed is another one for each net
for taken in range(0, 10):
    for again in range(2):
        net = build()
        net.load_state(state)
        batches(net, taken)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            with os.fdopen(write, "wb") as pipe:
                pipe.write(batches(net, 6))
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            found = pipe.read()
        assert os.waitpid(child, 0)[1] == 0, f"the child after {taken} batches"
        assert found == batches(net, 6) and found, f"after {taken} batches the child reads other samples"
        net.close()
print("20 of 20")
"""


def run(folder, script, *arguments):
    """A script in a process of its own, ended if it waits for good."""
    return subprocess.run(
        [sys.executable, *WARNINGS, "-c", textwrap.dedent(script), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_forked_child_reads_on(tmp_path, kind):
    """Forked before and after the first batches, 20 times: each child has the batches that its parent has."""
    (tmp_path / "net.prototxt").write_text(f'layer {{ name: "d" top: "data" top: "label" {kind(tmp_path)} }}\n')
    done = run(tmp_path, FORKS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "20 of 20\n", "")


ENDS = """
import os, sys
from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net

# What is long to import is so once: each child goes on below, to the end of the script and of its interpreter.
for time in range(3):
    child = os.fork()
    if not child:
        break
    if os.waitpid(child, 0)[1]:
        os._exit(1)
if child:
    os._exit(0)
net = Net("net.prototxt", "TRAIN", backend=make_backend("generic"))
for _ in range(3):
    net.forward()
print("done", flush=True)
if sys.argv[1] == "exits":
    sys.exit(0)
"""


@pytest.mark.parametrize("way", ["ends", "exits"])
@pytest.mark.parametrize("kind", [hdf5_data, image_data, folder_data])
def test_a_script_ends_though_it_closes_no_net(tmp_path, kind, way):
    (tmp_path / "net.prototxt").write_text(f'layer {{ name: "d" top: "data" top: "label" {kind(tmp_path)} }}\n')
    done = run(tmp_path, ENDS, way)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n" * 3, "")
