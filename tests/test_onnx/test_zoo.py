"""The published nets of ../shared/zoo: every net that is meant to be deployed, exported and run in ONNX Runtime.

With DEMITASSE_FULL=1, an hour on an idle machine; -s shows the table as it grows.
"""

import json
import tarfile
from pathlib import Path

import pytest

from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError
from tests.test_onnx.conditioned import compare

ARCHIVE = Path(__file__).resolve().parents[2].parent / "shared" / "zoo" / "nets.tar.xz"
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"{ARCHIVE} is not there"),
    pytest.mark.filterwarnings("ignore"),
]


def to_deploy(plan):
    """Whether a net is fed by its user and gives something else than losses."""
    fed = all(step.is_input or step.bottoms or step.layer.stream() is None for step in plan.steps)
    return fed and plan.inputs and any(not plan.newest[name].producer.cls.is_loss for name in plan.outputs)


def test_published_nets_run_in_onnx_runtime(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    table = {}
    for item in json.loads((tmp_path / "list.json").read_text()):
        path = tmp_path / "nets" / item["net"]
        try:
            plan = Plan(path, "TEST")
        except NetError:
            continue
        if not to_deploy(plan):
            continue
        try:
            table[item["net"]] = compare(path, tmp_path)
        except Exception as error:  # of the engine or its peer: a row like others, so that the table gets whole
            table[item["net"]] = f"{type(error).__name__}: {error}"
        print(f"{table[item['net']] or 'agrees':8} {item['net']}", flush=True)
    good = sum(not fault for fault in table.values())
    print(f"{good} of {len(table)} nets agree")
    assert good >= 0.95 * len(table)
