"""Names and paths that Windows reads otherwise are refused, or read the same, on every system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config, set_key
from ctbench_core.dataset import check_paths
from ctbench_core.doctor import machine
from ctbench_core.errors import CtbenchError, PathError
from ctbench_core.features.paths import find_file
from ctbench_core.names import LONGEST_BELOW_RUN, last_name, portable, require_distinct, safe_name
from ctbench_core.runs import RunPaths, job_dir

GOOD = ("train", "Lung nodule", "gpt_4o", "a.b", "console", "aux1", "com", "肺", "it's", "a" * 80)
BAD = {
    "slash": ("a/b", "\\Windows\\x", "/etc", "..\\x", "C:\\x"),
    "character ':'": ("C:evil", "C:", "a:b"),
    "no name of its own": ("", ".", ".."),
    "reserved": ("con", "NUL", "aux.x", "COM1", "com¹.txt", "lpt9.csv", "Prn.tar.gz", "CONIN$"),
    "dot or space": ("a.", "a ", " a", ".trash", "a. "),
    "character": ("a*", "a?", 'a"b', "a<b", "a|b", "a\nb", "a\x00"),
    "longer": ("a" * 81,),
}


@pytest.mark.parametrize("name", GOOD)
def test_plain_names_are_kept(name: str) -> None:
    assert safe_name(name, "job_name") == name


@pytest.mark.parametrize(("reason", "name"), [(reason, name) for reason, names in BAD.items() for name in names])
def test_names_that_a_system_refuses_are_refused_on_all(reason: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(PathError, match="job_name is") as error:
        safe_name(name, "job_name")
    assert reason in str(error.value)
    config = Config()
    config.paths.outputs_root, config.job_name = str(tmp_path), name
    for use in (check_paths, job_dir):
        with pytest.raises(PathError):
            use(config)


def test_names_equal_but_for_case_are_one_name(tmp_path: Path) -> None:
    (tmp_path / "Lung").mkdir()
    assert safe_name("Lung", "job_name", tmp_path) == "Lung"
    with pytest.raises(PathError, match="holds 'Lung', the same name on Windows"):
        safe_name("lung", "job_name", tmp_path)
    (tmp_path / "lung").mkdir(exist_ok=True)  # a store of earlier may hold both
    assert safe_name("lung", "job_name", tmp_path) == "lung"
    require_distinct(["test", "test", "external"], "data.test_manifests")
    with pytest.raises(PathError, match="'test' and 'Test'"):
        require_distinct(["test", "Test"], "data.test_manifests")


@pytest.mark.parametrize("tests", [["test.csv", "Test.csv"], ["aux.csv"], ["a:b.csv"]])
def test_test_sets_whose_results_would_share_a_folder_are_refused(tests: list[str]) -> None:
    config = Config()
    set_key(config, "data.test_manifests", tests)
    with pytest.raises(PathError, match=r"data\.test_manifests"):
        check_paths(config)


@pytest.mark.parametrize("path", ["C:evil.npz", "c:x/y.npz", "a/b:c.npz", "x:y:z"])
def test_feature_paths_with_a_drive_or_colon_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(PathError, match="colon"):
        find_file(tmp_path, path)


def test_feature_paths_stay_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "Windows").mkdir()
    (tmp_path / "Windows" / "x.npz").write_bytes(b"")
    assert find_file(tmp_path, "\\Windows\\x.npz") == tmp_path / "Windows" / "x.npz"
    for path in ("..\\x.npz", "a\\..\\..\\x.npz"):
        with pytest.raises(PathError):
            find_file(tmp_path, path)
    assert find_file(tmp_path, "C:\\Windows\\x.npz") is None


@pytest.mark.parametrize(
    ("written", "read", "last"),
    [
        ("data\\demo\\manifests", "data/demo/manifests", "manifests"),
        ("C:\\store\\train\\run1", "C:/store/train/run1", "run1"),
        ("\\\\server\\share\\data", "//server/share/data", "data"),
        (".\\data", "data", "data"),
        ("data/demo", "data/demo", "demo"),
        ("s3://bucket/a", "s3://bucket/a", "a"),
        ("plain", "plain", "plain"),
    ],
)
def test_paths_written_on_windows_are_read_everywhere(written: str, read: str, last: str) -> None:
    assert (portable(written), last_name(written)) == (read, last)


def test_one_place_written_on_two_systems_is_one_setting() -> None:
    here, there = Config(), Config()
    for key, value in (("paths.manifest_dir", "data/demo/manifests"), ("data.train_manifest", "a/train.csv")):
        set_key(here, key, value)
        set_key(there, key, value.replace("/", "\\"))
    set_key(here, "data.test_manifests", ["b/test.csv"])
    set_key(there, "data.test_manifests", ["b\\test.csv"])
    assert here == there
    paths = RunPaths(Path("run"))
    assert paths.evaluation("b\\test.csv") == paths.evaluation("b/test.csv")


def test_the_longest_path_of_a_run_is_short(tmp_path: Path) -> None:
    bundle = RunPaths(tmp_path).evaluation("x" * 32 + ".csv")
    files = [bundle.subgroups("a column with a name that is longer than any file name should be"), bundle.net_benefit]
    assert max(len(str(file)) - len(str(tmp_path)) - 1 for file in files) <= LONGEST_BELOW_RUN


def test_the_doctor_warns_of_paths_that_windows_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config()
    config.paths.outputs_root = str(tmp_path / ("x" * 120))
    assert machine.long_paths(config).level == "ok"
    monkeypatch.setattr(machine, "_path_limit", lambda: 259)
    outcome = machine.long_paths(config)
    assert outcome.level == "warning" and "260" not in outcome.observation and "LongPathsEnabled" in outcome.advice
    config.paths.outputs_root = "/store"
    assert machine.long_paths(config).level == "ok"


@pytest.mark.parametrize("option", ["output_prefix=../evil", "output_prefix=con", "output_prefix=C:x"])
def test_prefixes_of_tables_cannot_leave_their_folder(cli: Callable[..., Any], tmp_path: Path, option: str) -> None:
    runs = tmp_path / "outputs" / "train"
    runs.mkdir(parents=True)
    ended = cli("aggregate", str(runs), option, f"output_dir={tmp_path / 'tables'}")
    assert ended.code == 2 and not (tmp_path / "evil_per_run.csv").exists()


@pytest.mark.parametrize("name", ["con", "COM1", "aux.x"])
def test_studies_need_a_name_that_is_a_folder_everywhere(name: str) -> None:
    from ctbench_core.studies import parse_study

    with pytest.raises(CtbenchError, match="reserved on Windows"):
        parse_study({"name": name, "grid": {"seed": [1]}})
