"""Every verb prints its result in a code page that lacks the finding's letters, and its JSON in plain ASCII."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ctbench_core.cli.verbs import VERBS
from tests.conftest import LABELS

PROJECT = Path(__file__).resolve().parents[2]
FINDING = "Zwłóknienie → 肺"
# All verbs in one process, since each start takes a second. A file of ours that is opened without an encoding is an
# error: Windows would take its code page.
RUN_ALL = """
import json, sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module=r"ctbench_core")
from ctbench_core.cli.main import main
for line in sys.stdin.buffer.read().decode().splitlines():
    print("verb", line.encode("ascii", "backslashreplace").decode(), flush=True)
    print("exit", main([*json.loads(line), "--json"]), flush=True)
"""


@pytest.fixture
def foreign_data(data: Path) -> Path:
    """Return the tiny data set with a finding whose letters cp1252 lacks."""
    for manifest in (data / "manifests").glob("*.csv"):
        text = manifest.read_text(encoding="utf-8").replace(LABELS[0], FINDING)
        manifest.write_text(text, encoding="utf-8", newline="")
    return data


def verbs(data: Path, keys: list[str], runs: list[Path], old: Path, folder: Path) -> list[list[str]]:
    manifests, first, second = data / "manifests", *runs
    rename = f"data.columns.labels=['{FINDING}','{LABELS[1]}']"
    labels = manifests / "train.csv"
    tables, study = folder / "tables", folder / "study.yaml"
    study.write_text(f"name: {FINDING} s\ngrid:\n  seed: [1, 2]\n", encoding="utf-8")
    return [
        ["check", *keys, rename],
        ["train", *keys, f"paths.run_dir={first}", "evaluation.after_training=true", f"logging.run_name='{FINDING}'"],
        ["train", *keys, f"paths.run_dir={second}", "utils.seed=2"],
        ["evaluate", f"run={second}"],
        ["compare", str(first), str(second)],
        ["score", str(first / "evaluation" / "test" / "scores.parquet"), f"name={FINDING}"],
        ["align", *keys, "data.train_manifest=test.csv"],
        ["study", str(study), *keys, "training.max_epochs=1", "data.test_manifests=[test.csv]"],
        ["search", *keys, "trials=2", "training.max_epochs=1", "again=0"],
        ["agree", f"first_csv={labels}", f"second_csv={labels}", *keys],
        ["prepare", f"labels_csv={labels}", f"output_file={folder / 'prepared.csv'}"],
        ["export", str(first)],
        ["pack", *keys],
        ["import", str(old), f"paths.outputs_root={folder / 'outputs'}"],
        ["aggregate", str(first.parent), f"output_dir={tables}"],
        ["contrast", f"first={first.parent}", f"second={first.parent}", "second_name=b", f"output_dir={tables}"],
        ["budgets", *keys, "budgets=[8]", "seeds=[1]", f"output_dir={folder / 'budgets'}"],
        ["doctor", *keys],
        ["demo"],
        ["train", *keys, f"data.columns.labels=['{FINDING}?']"],  # an error that names it
    ]


def test_every_verb_with_foreign_letters_on_cp1252(
    foreign_data: Path,
    make_overrides: Callable[[Path], list[str]],
    make_old_run: Callable[..., Path],
    tmp_path: Path,
) -> None:
    runs = [tmp_path / "outputs" / "train" / name for name in ("one", "two")]
    calls = verbs(foreign_data, make_overrides(foreign_data), runs, make_old_run(), tmp_path)
    assert {call[0] for call in calls} == set(VERBS) - {"app"}  # which serves until it is stopped
    environment = {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "0"}
    ended = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", RUN_ALL],
        input="\n".join(json.dumps(call) for call in calls).encode(),
        capture_output=True,
        cwd=tmp_path,
        env=environment,
        timeout=300,
        check=False,
    )
    errors = ended.stderr.decode("cp1252")
    assert ended.returncode == 0 and "Traceback" not in errors, errors
    parts = ended.stdout.decode("cp1252").split("\nverb ")
    assert len(parts) == len(calls)
    for call, part in zip(calls, parts):
        *_, result, code = [line for line in part.splitlines() if line]
        assert code == ("exit 2" if call is calls[-1] else "exit 0"), part + errors
        assert result.isascii() and isinstance(json.loads(result), dict), call
    shown = {call[0]: part for call, part in zip(calls, parts)}
    for verb in ("evaluate", "compare", "prepare", "agree"):
        assert "Zw\\u0142\xf3knienie" in shown[verb], verb  # cp1252 has an ó alone
    assert FINDING in json.loads(parts[3].splitlines()[-2])["test"]["test.csv"]["per_class"]


def test_a_printed_command_of_a_fix_passes_both_shells() -> None:
    from ctbench_core.cli.summaries import fix_lines
    from ctbench_core.config import Config
    from ctbench_core.errors import Fix
    from tests.windows.test_shells import powershell

    fix = Fix("Take these", {"data.columns.labels": [FINDING, "it's"], "paths.data_root": "a b/c"})
    (line,) = fix_lines([fix], Config())
    command = line.removeprefix("  Fix: ").rpartition("  (")[0]
    assert [word.split("=")[0] for word in powershell(command)] == list(fix.values)
