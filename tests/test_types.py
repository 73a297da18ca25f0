"""The type checker has nothing to say of the packages that everything else stands on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
ROOT = Path(__file__).resolve().parents[1]
CHECKED = ["demitasse.proto", "demitasse.netdef", "demitasse.solver"]


@pytest.fixture
def installed(tmp_path):
    """A folder that looks like an installation: the packages below `demitasse`, as links to those of the checkout."""
    package = tmp_path / "demitasse"
    package.mkdir()
    for path in (ROOT / "demitasse").iterdir():
        (package / path.name).symlink_to(path)
    for name in ("proto", "layers", "netdef", "solver", "models"):
        (package / name).symlink_to(ROOT / name)
    (tmp_path / "caffe").symlink_to(ROOT / "caffe")
    return tmp_path


def test_types(installed):
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml"]
    command += ["--cache-dir", ROOT / ".mypy_cache", "-m", "demitasse.layers.backend.contract"]
    for package in CHECKED:
        command += ["-p", package]
    run = subprocess.run(
        command, cwd=installed, capture_output=True, text=True, timeout=300, env={**os.environ, "MYPYPATH": ""}
    )
    assert run.returncode == 0, run.stdout + run.stderr
