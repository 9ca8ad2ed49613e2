"""A damaged file of the store is named, or changes no figure; every other run keeps its figures and works."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.damage import Ground, unpack
from ctbench_core.atomic import append_line
from ctbench_core.errors import DamagedFile
from ctbench_core.runs import (
    Ledger,
    RunStore,
    annotate,
    damaged_in,
    disclosures_of,
    open_run,
    read_frame,
    read_metrics,
    repair,
    run_folders,
    set_aside,
    undo_set_aside,
    write_parquet,
)
from ctbench_core.runs.identity import validation_set_id
from ctbench_core.studies import StudyPaths, read_plan, study_status
from ctbench_ui.shared import cache

KINDS = (
    *("status.json", "config.yaml", "best_metrics.json", "metrics.jsonl", "provenance.json", "annotations.json"),
    *("evaluation/test/metrics.json", "validation/tuning.json"),
)
CONTENTS = {
    "empty": b"",
    "no text": b"\xff\xfe\x81",
    "of another type": b'["one"]',
    "cut": b'{"state": "fini',
    "nested": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
}
RUN = "train/20261128T075908Z-b34775"  # evaluated, with notes
OTHER = "train/20261128T075919Z-ff68d2"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small run store of an earlier release; its folder is the working folder."""
    monkeypatch.chdir(tmp_path)
    unpack(tmp_path)
    return Path("outputs")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("damage"))


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_file_is_named_or_changes_no_figure(ground: Ground, seed: int) -> None:
    """The short form of ``python -m benchmarks.damage``."""
    done, _, wrong = ground.damage_once(random.Random(seed))
    assert wrong == {}, done


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("name", KINDS)
def test_one_damaged_run_is_named_with_its_file_and_all_others_stay(store: Path, name: str, content: bytes) -> None:
    (store / RUN / name).write_bytes(content)
    before = run_folders(store)
    (damaged,) = damaged_in(store, thorough=True)
    assert damaged.folder == store / RUN
    assert Path(name).name in damaged.reason
    assert "System page" in damaged.reason
    assert [row["run_dir"] for row in cache.run_rows(str(store), None)] != []
    shown = {row["run_dir"] for row in cache.run_rows(str(store), None)}
    assert shown | {str(run.folder) for run in cache.damaged_rows(str(store))} == set(before)
    assert str(store / OTHER) in shown
    RunStore(store).mark_interrupted()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", ["folder", "loop"])
def test_what_cannot_be_read_is_not_absent(store: Path, name: str, kind: str) -> None:
    path = store / RUN / name
    path.unlink()
    path.mkdir() if kind == "folder" else path.symlink_to(path.name)
    (damaged,) = damaged_in(store, thorough=True)
    assert damaged.folder == store / RUN
    assert "is a folder" in damaged.reason if kind == "folder" else "cannot be read now" in damaged.reason


def test_a_file_that_is_refused_for_a_moment_is_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = Path.open, iter([PermissionError(13, "used by another process")] * 2)

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "annotations.json" and (error := next(refusals, None)):
            raise error
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert open_run(store / RUN).annotations().tags == ["paper"]


def test_notes_that_cannot_be_read_are_not_written_anew(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, path = Path.open, store / RUN / "annotations.json"
    before = path.read_bytes()

    def refuse(self: Path, *args: Any, **options: Any) -> Any:
        if self.name == "annotations.json":
            raise PermissionError(13, "used by another process")
        return real(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(DamagedFile, match=r"cannot be read now: .*\(used by another process\)"):
            annotate(store / RUN, pinned=False)
    assert path.read_bytes() == before


def test_a_ledger_with_a_damaged_line_leaves_the_number_of_evaluations_unknown(store: Path) -> None:
    run, ledger = open_run(store / RUN), Ledger(store)
    known = disclosures_of([run], "test")
    assert known.openings is not None
    count = len(ledger.openings())
    append_line(ledger.path, '{"when": "2026-11-28T08:00:00", "run": [')
    after = disclosures_of([run], "test")
    assert (after.openings, len(ledger.openings())) == (None, count)
    assert "1 line cannot be read" in " ".join(after.warnings)
    assert "number of evaluations unknown" in after.sentences()
    assert "table" not in " ".join(after.methods())
    ledger.path.unlink()
    ledger.path.mkdir()
    assert disclosures_of([run], "test").openings is None
    with pytest.raises(DamagedFile, match="is a folder"):
        ledger.record(run.paths.root, "train", "test.csv", "id")


def test_a_byte_that_changed_in_a_table_is_noticed(store: Path) -> None:
    path = store / RUN / "evaluation" / "test" / "scores.parquet"
    frame = read_frame(path)
    write_parquet(path, frame)
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"scores\.parquet is damaged"):
        read_frame(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="y"), "lacks the column y"),
        (lambda frame: frame.assign(y="?"), "column y has text"),
    ],
)
def test_a_table_with_other_columns_is_damaged(store: Path, change: Callable[[Any], Any], message: str) -> None:
    path = store / RUN / "evaluation" / "test" / "curves.parquet"
    write_parquet(path, change(read_frame(path)))
    with pytest.raises(DamagedFile, match=message):
        read_frame(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ('"auprc": 0.', '"auprc": 1'),
        ('"threshold": 0.5', '"threshold": true'),
        ('"volumes": 32', '"volumes": "32"'),
        ('"auroc": 0.', '"auroc": "0.5", "x": 0.'),
        ('"undefined": {}', '"undefined": []'),
        ('"per_class": {', '"per_class": null, "x": {'),
        ('"n": {', '"n": null, "x": {'),
    ],
)
def test_a_metric_of_another_type_is_damage(store: Path, field: str, value: str) -> None:
    path = store / RUN / "evaluation" / "test" / "metrics.json"
    text = path.read_text(encoding="utf-8")
    value = f'"auprc": 1{"0" * 30}0.' if value == '"auprc": 1' else value
    assert field in text
    path.write_text(text.replace(field, value, 1), encoding="utf-8")
    with pytest.raises(DamagedFile, match=r"metrics\.json is damaged"):
        read_metrics(path)


def test_a_cut_config_and_a_cut_history_are_damage(store: Path) -> None:
    config = store / RUN / "config.yaml"
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    config.write_text("".join(lines[:20]), encoding="utf-8")  # still YAML: its other keys would have their defaults
    with pytest.raises(DamagedFile, match=r"config\.yaml is damaged: it ends before its last key"):
        open_run(store / RUN)
    history = store / OTHER / "metrics.jsonl"
    history.write_text(history.read_text(encoding="utf-8").split("\n")[0] + "\n", encoding="utf-8")
    with pytest.raises(DamagedFile, match="it has 1 epoch, the run's status says"):
        open_run(store / OTHER).history()


def test_a_damaged_run_of_a_study_is_counted_as_damaged(store: Path) -> None:
    paths = StudyPaths(store / "small-budgets")
    plan = read_plan(paths)
    (paths.run(plan.runs[0].id) / "status.json").write_bytes(b"{")
    status = study_status(paths, plan)
    assert (status.counts["damaged"], status.counts["finished"]) == (1, 3)
    paths.plan.write_bytes(b'{"runs": []}')
    with pytest.raises(DamagedFile, match=r"plan\.json is damaged"):
        read_plan(paths)


def test_a_run_is_set_aside_and_moved_back_as_it_was(store: Path) -> None:
    (store / RUN / "status.json").write_bytes(b"{")
    files = {path.name: path.read_bytes() for path in (store / RUN).iterdir() if path.is_file()}
    trashed = set_aside(store, store / RUN)
    assert damaged_in(store) == []
    undo_set_aside(store, trashed)
    assert [run.folder for run in damaged_in(store)] == [store / RUN]
    assert {path.name: path.read_bytes() for path in (store / RUN).iterdir() if path.is_file()} == files


@pytest.mark.parametrize("name", ["annotations.json", "evaluation/test/metrics.json", "evaluation/test/curves.parquet"])
def test_a_run_is_repaired_by_moving_a_damaged_part_to_the_trash(store: Path, name: str) -> None:
    content = (store / RUN / name).read_bytes()[:-5]
    (store / RUN / name).write_bytes(content)
    (moved,) = repair(store, store / RUN)
    trashed = store / ".trash" / RUN / name
    assert trashed.read_bytes() == content
    assert trashed.resolve().is_relative_to(moved)
    assert damaged_in(store, thorough=True) == []
    assert open_run(store / RUN).status.state == "finished"


def test_a_run_without_a_readable_status_cannot_be_repaired(store: Path) -> None:
    (store / RUN / "status.json").write_bytes(b"{")
    with pytest.raises(DamagedFile, match=r"status\.json is damaged"):
        repair(store, store / RUN)
    assert not (store / ".trash").exists()


@pytest.mark.parametrize("verb", [("export",), ("evaluate",), ("compare",)])
def test_a_verb_on_a_damaged_run_names_the_file(
    cli: Any, store: Path, monkeypatch: Any, tmp_path: Path, verb: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (store / RUN / "status.json").write_bytes(b'{"state": 1}')
    run = str(store / RUN)
    words = {"export": (run,), "evaluate": (f"run={run}",), "compare": (run, str(store / OTHER))}[verb[0]]
    ended = cli(verb[0], *words)
    assert ended.code == 2
    assert "status.json is damaged" in ended.err
    assert "Traceback" not in ended.err


def test_aggregate_goes_on_and_names_the_run_that_it_leaves_out(store: Path) -> None:
    from ctbench_core.legacy import find_runs

    whole, none = find_runs(store, store)
    (store / RUN / "evaluation" / "test" / "metrics.json").write_bytes(b"{}x")
    runs, warnings = find_runs(store, store)
    assert (len(runs), none) == (len(whole) - 1, [])
    assert len(warnings) == 1
    assert f"{store / RUN}" in warnings[0]


def test_a_best_value_that_is_text_is_damage(store: Path) -> None:
    path = store / RUN / "best_metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(metrics | {"best_val_auroc": "2026-11-28"}), encoding="utf-8")
    with pytest.raises(DamagedFile, match=r"best_metrics\.json is damaged: best_val_auroc is '2026-11-28'"):
        open_run(store / RUN).best()


def test_scores_without_the_labels_of_a_finding_are_damage(store: Path) -> None:
    path = store / OTHER / "validation" / "scores.parquet"
    frame = read_frame(path)
    write_parquet(path, frame.drop(columns="target_Emphysema"))  # of fewer findings it would be another set
    with pytest.raises(DamagedFile, match=r"scores\.parquet is damaged: .*different findings: \['Emphysema'\]"):
        validation_set_id(open_run(store / OTHER))
