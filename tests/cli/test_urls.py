"""Data at URLs from the command line: checked, trained and aligned from copies, and named by their URLs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem


@pytest.fixture
def store(tiny_data: Path) -> Iterator[MemoryFileSystem]:
    """Put the tiny data set into a store in memory."""
    files = fsspec.filesystem("memory")
    files.put(str(tiny_data), "/lab", recursive=True)
    yield files
    files.rm("/", recursive=True)


@pytest.fixture
def at_urls(make_overrides: Callable[[Path], list[str]], tmp_path: Path) -> list[str]:
    local = [text for text in make_overrides(tmp_path) if not text.startswith(("paths.data_root", "paths.manifest"))]
    return [*local, "paths.data_root=memory://lab/features", "paths.manifest_dir=memory://lab/manifests"]


def test_check_and_train_as_from_folders(
    cli: Any, at_urls: list[str], overrides: list[str], store: MemoryFileSystem
) -> None:
    checked = [cli("check", *given) for given in (at_urls, overrides)]
    assert [ended.code for ended in checked] == [0, 0], checked[0].err
    found, usual = ({**ended.json, "data_card": None} for ended in checked)  # it has the name of the folder
    assert found == usual
    trained = [cli("train", *given) for given in (at_urls, overrides)]
    assert [ended.code for ended in trained] == [0, 0], trained[0].err
    assert trained[0].json["best_val"] == trained[1].json["best_val"]
    written = json.loads((Path(trained[0].json["run_dir"]) / "provenance.json").read_text())
    assert written["manifests"]["train"]["file"] == "memory://lab/manifests/train.csv"


def test_align_reads_urls(cli: Any, at_urls: list[str], overrides: list[str], store: MemoryFileSystem) -> None:
    ended, usual = (cli("align", *given) for given in (at_urls, overrides))
    assert (ended.code, usual.code) == (0, 0), ended.err
    keys = ("samples_analyzed", "v_to_t_map", "t_to_v_map", "mean_paired_similarity")
    assert [ended.json[key] for key in keys] == [usual.json[key] for key in keys]


@pytest.mark.parametrize("verb", ["check", "train", "align"])
@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("manifests/train.csv", "memory://lab/manifests/train.csv"),
        ("text column", "memory://lab/manifests/train.csv has no column"),
        ("cohort", "memory://lab/manifests/train.csv: data.cohort leaves no row"),
        ("features", "memory://lab/features"),
    ],
)
def test_errors_name_the_url_and_not_the_copy(
    cli: Any, at_urls: list[str], store: MemoryFileSystem, verb: str, damage: str, named: str
) -> None:
    more = {
        "text column": ["data.columns.text_feature=none", "model.inputs=text"],
        "cohort": ["data.cohort.where=[{column:Emphysema,op:'==',value:7}]"],
    }
    if damage == "features":
        for path in store.find("/lab/features"):
            store.pipe_file(path, b"torn")
    elif damage == "manifests/train.csv":
        store.pipe_file("/lab/manifests/train.csv", b"torn")
    ended = cli(verb, *at_urls, *more.get(damage, []))
    assert ended.code != 0
    said = ended.out + ended.err
    assert named in said and ".remote" not in said
