"""The programs in ../shared/checks, which hold `import caffe` against what real Caffe computed, each in a process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
pytestmark = pytest.mark.skipif(not (SHARED / "checks").is_dir(), reason=f"{SHARED}/checks is not there")

# Windows without a single pixel: 0 here, -FLT_MAX or NaN in Caffe (docs/differences.md).
EMPTY_WINDOWS = ["pool_ave_k1s2_35", "pool_ave_k1s2_ceil", "pool_max_k1s2_35", "pool_max_k1s2_ceil"]


def check(name, *arguments) -> tuple[str, list[str]]:
    """(its last line, the cases that it says fail) of a check program."""
    done = subprocess.run(
        [sys.executable, SHARED / "checks" / f"{name}.py", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "GLOG_minloglevel": "2"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    return lines[-1], [line.split()[1] for line in lines if line.startswith("FAIL")]


def test_layers():
    said, failed = check("golden_check", SHARED / "golden" / "layers")
    assert (said, failed) == ("315 of 319 golden cases agree", EMPTY_WINDOWS)


def test_solvers(tmp_path):
    shutil.copytree(SHARED / "golden" / "solver", tmp_path / "solver")  # snapshots are written beside the cases
    for folder in (tmp_path / "solver", *(tmp_path / "solver").iterdir()):
        folder.chmod(0o755)
    assert check("solver_check", tmp_path / "solver") == ("33 of 33 solver goldens agree", [])


def test_shapes():
    said, failed = check("shapes_check", SHARED / "golden" / "shapes.json", SHARED / "reference-nets")
    assert (said, failed) == ("576 of 576 held-out net sizes exact", [])


def test_real_nets():
    said, failed = check("real_check", SHARED / "golden" / "real", SHARED / "weights")
    assert (said, failed) == ("6 of 6 real nets agree with Caffe", [])


@pytest.mark.full  # VGG16 forward and back, computed directly: minutes
def test_whole_nets():
    said, _ = check("nets_check", SHARED / "golden" / "nets")
    assert said.endswith("of 6 whole nets agree") and int(said.split()[0]) >= 5
