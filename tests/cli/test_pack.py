"""The `pack` verb: what it builds and prints, and what it leaves unchanged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.checks import check
from ctbench_core.config import Config
from ctbench_core.dataset import pack_features, packing
from ctbench_core.errors import Interrupted
from ctbench_core.features.reader import FileReader


def test_visual_and_text_are_packed_and_opened_again(cli: Any, overrides: list[str], tmp_path: Path) -> None:
    first = cli("pack", *overrides)
    assert first.code == 0
    assert (first.json["volumes"], first.json["files"], first.json["files_read"]) == (112, 112, 112)
    assert first.json["dim"] == 16
    assert first.json["audit"] == dict.fromkeys(
        ("missing", "unreadable", "wrong_dim", "non_finite", "zero_norm", "duplicates"), 0
    )
    assert {"total", "open", "verify", "read"} <= set(first.json["seconds"])
    assert Path(first.json["path"]).is_file()
    assert Path(first.json["path"]).is_relative_to(tmp_path / "outputs" / ".packed")
    again = cli("pack", *overrides)
    assert again.json["files_read"] == 0
    assert again.json["path"] == first.json["path"]
    assert "112 volumes" in again.out


def test_bad_files_are_counted_and_named_and_stop_nothing(
    cli: Any, make_overrides: Callable[[Path], list[str]], data: Path
) -> None:
    (data / "features" / "image" / "train_3_a.npz").write_bytes(b"torn")
    (data / "features" / "image" / "train_4_a.npz").unlink()
    np.savez(data / "features" / "text" / "train_5_a.npz", np.zeros((1, 16), np.float32))
    ended = cli("pack", *make_overrides(data))
    assert ended.code == 0
    audit = ended.json["audit"]
    assert (audit["missing"], audit["unreadable"], audit["zero_norm"]) == (1, 1, 1)
    assert any("train_3_a" in text for text in ended.json["warnings"])


def test_the_cache_folder_is_a_choice(cli: Any, overrides: list[str], tmp_path: Path) -> None:
    ended = cli("pack", *overrides, f"paths.cache_dir={tmp_path / 'elsewhere'}")
    assert Path(ended.json["path"]).is_relative_to(tmp_path / "elsewhere")
    assert not (tmp_path / "outputs").exists()


def test_a_set_stop_signal_ends_it_and_leaves_no_rest(config: Config, tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        pack_features(config, cancel=cancel)
    assert not list((tmp_path / "outputs").rglob("*.f32"))


def test_check_reports_the_audit_from_a_pack_and_writes_nothing(config: Config, tmp_path: Path) -> None:
    assert set(check(config).to_json()["audit"]) == {"visual"}
    assert not (tmp_path / "outputs").exists()
    pack_features(config)
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "outputs").rglob("*"))
    result = check(config)
    assert result.audits["visual"].norms["median"] > 0
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "outputs").rglob("*")) == before


def test_training_on_packed_features_gives_the_same_run(
    make_config: Callable[..., Config], tiny_data: Path, tmp_path: Path
) -> None:
    from ctbench_core.experiment import run_experiment

    results = []
    for name in ("direct", "packed"):
        config = make_config(tiny_data, {"paths.outputs_root": str(tmp_path / name)})
        if name == "packed":
            pack_features(config)
        results.append(run_experiment(config)["best_val"])
    assert results[0] == results[1]


def test_a_store_is_verified_once_also_right_after_it_was_written(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[int] = []
    stamps = FileReader.stamps
    monkeypatch.setattr(
        FileReader, "stamps", lambda self, index, names: verified.append(len(names)) or stamps(self, index, names)
    )
    assert pack_features(config)["seconds"]["verify"] > 0  # measured: what every later use takes
    assert verified == [56, 56]  # visual and text files of two volumes each
    pack_features(config)
    assert verified == 4 * [56]


def test_a_pack_finds_the_samples_of_each_kind_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []
    load = packing.load_inputs
    monkeypatch.setattr(
        packing, "load_inputs", lambda *a, **options: loaded.append(options["kinds"]) or load(*a, **options)
    )
    seconds = pack_features(config)["seconds"]
    assert loaded == [["visual"], ["text"]]
    assert all(seconds[step] > 0 for step in ("open", "verify", "read"))
