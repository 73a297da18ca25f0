"""Which nets a solver builds, and where it looks for files."""

import os

import pytest

from demitasse.proto.errors import SolverFault
from demitasse.proto.messages import TEST, TRAIN
from demitasse.solver.path_lookup import Finder, require_writable
from demitasse.solver.solver import Solver
from tests.test_solver import small

EXTRA = """
layer { name: "on_level" type: "Silence" bottom: "ip" include { min_level: 2 } }
layer { name: "on_stage" type: "Silence" bottom: "ip" include { stage: "deep" } }
"""


def layers(net):
    return {name for name in net.layer_names if name.startswith(("on_", "accuracy"))}


@pytest.fixture
def build(tmp_path, monkeypatch):
    """build(fields, which="the field that names the train net", ...) -> Solver, in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)

    def make(fields, which='net: "net.prototxt"', **options):
        (tmp_path / "other.prototxt").write_text(small.NET.replace('"small"', '"other"'))
        path = small.write(tmp_path, fields, small.NET + EXTRA, which=which)
        return Solver(path, device="generic", log=small.Lines(), **options)

    return make


def test_a_generic_net_is_the_test_net_for_every_test_iter(build):
    solver = build("test_iter: 1 test_iter: 2 test_interval: 5")
    assert solver.net.plan.phase == TRAIN and [net.plan.phase for net in solver.test_nets] == [TEST, TEST]
    assert layers(solver.net) == set() and layers(solver.test_nets[1]) == {"accuracy"}


def test_named_test_nets_come_before_the_generic_one(build):
    solver = build('test_net: "other.prototxt" test_iter: 1 test_iter: 1 test_interval: 5')
    assert [net.name for net in solver.test_nets] == ["other", "small"]


def test_train_net_with_a_test_net_of_its_own(build):
    solver = build('test_net: "other.prototxt" test_iter: 3 test_interval: 1', which='train_net: "net.prototxt"')
    assert solver.net.name == "small" and [net.name for net in solver.test_nets] == ["other"]


def test_inline_nets(build):
    solver = build(
        f"test_net_param {{ {small.NET} }} test_iter: 1 test_interval: 1", which=f"train_net_param {{ {small.NET} }}"
    )
    assert solver.net.name == "small" and layers(solver.test_nets[0]) == {"accuracy"}


def test_states_choose_layers(build):
    solver = build(
        "train_state { level: 2 } test_iter: 1 test_iter: 1 test_interval: 1 "
        'test_state { stage: "deep" } test_state { level: 3 }'
    )
    assert layers(solver.net) == {"on_level"}
    assert [layers(net) for net in solver.test_nets] == [{"accuracy", "on_stage"}, {"accuracy", "on_level"}]


def test_level_and_stages_of_the_caller_are_added(build):
    solver = build("", level=2, stages=["deep"])
    assert layers(solver.net) == {"on_level", "on_stage"}


def test_an_interval_without_anything_to_test_is_told(build):
    with pytest.warns(UserWarning, match="test_interval: 5 has no effect, for nothing is tested: give test_iter"):
        assert not build("test_interval: 5").test_nets


def test_a_test_iter_of_0_never_tests_that_net(build):
    solver = build("test_iter: 0 test_iter: 1 test_interval: 1")
    first, second = solver.test()
    assert first == {} and set(second) == {"accuracy", "loss"}


# -- paths ---------------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A working directory and, elsewhere, a solver's folder; a Finder with what it says."""
    work, beside = tmp_path / "work", tmp_path / "nets"
    work.mkdir()
    beside.mkdir()
    monkeypatch.chdir(work)
    said = []
    return work, beside, Finder(str(beside / "solver.prototxt"), said.append), said


def test_the_working_directory_comes_first(places):
    work, beside, find, said = places
    (beside / "a").write_text("")
    assert find("a", "net") == str(beside / "a")
    assert said == [f"net: a is taken from the solver's folder: {beside / 'a'}"]
    (work / "a").write_text("")
    assert find("a", "net") == "a" and "taken from the working directory, not from" in said[1]
    assert find("a", "net") == "a" and len(said) == 2  # once is enough


def test_nothing_is_said_where_there_is_no_doubt(places):
    work, beside, find, said = places
    (work / "a").write_text("")
    assert find("a", "net") == "a" and find(str(work / "a"), "net") == str(work / "a") and said == []


def test_a_missing_file_names_both_places_and_a_near_miss(places):
    work, beside, find, said = places
    (beside / "train.prototxt").write_text("")
    with pytest.raises(SolverFault) as fault:
        find("trian.prototxt", "train_net")
    for word in ("train_net", "trian.prototxt", str(work), str(beside), "did you mean 'train.prototxt'"):
        assert word in str(fault.value)


def test_a_path_from_a_folder_further_up_says_where_to_go(places):
    """As Caffe's own: models/x/solver.prototxt names models/x/train_val.prototxt, from Caffe's folder on."""
    work, beside, find, _ = places
    for folder in (work, beside):
        (folder / "net.prototxt").write_text("")
        with pytest.raises(SolverFault, match=f"from {work.parent} it is there: cd {work.parent} first"):
            find(f"{folder.name}/net.prototxt", "net")


def test_snapshots_go_where_their_folder_is(places):
    work, beside, find, said = places
    assert find.for_writing("snap") == "snap"
    assert find.for_writing("runs/snap") == "runs/snap"  # to be made in the working directory
    (beside / "runs").mkdir()
    assert find.for_writing("runs/snap") == str(beside / "runs/snap") and "solver's folder" in said[0]
    (work / "runs").mkdir()
    assert find.for_writing("runs/snap") == "runs/snap"
    assert find.for_writing("/abs/snap") == "/abs/snap"


def test_the_folder_of_snapshots_is_made_and_tried(places):
    work, *_ = places
    require_writable("new/deep/snap")
    assert (work / "new/deep").is_dir() and not any((work / "new/deep").iterdir())
    (work / "file").write_text("")
    with pytest.raises(SolverFault, match="snapshot_prefix: cannot write to .*file.*set another"):
        require_writable("file/snap")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_forbids_writing(places):
    work, *_ = places
    (work / "locked").mkdir(mode=0o500)
    with pytest.raises(SolverFault, match="cannot write to"):
        require_writable("locked/snap")
