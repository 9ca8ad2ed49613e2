"""Damage one file of a run store in one way, again and again, and compare what every list, run, study and verb says.

``python -m benchmarks.damage [number] [seed]``. Each time a copy of a small store is damaged: a file is emptied, cut,
gets bytes of no text, is replaced by a folder or by a link to itself, is nested 100,000 deep, or has a value of another
type in one field. The damaged run must be named, or no figure of it change; all other runs must keep their figures.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import itertools
import json
import random
import shutil
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pandas.api.types import is_numeric_dtype

from ctbench_core import legacy, studies
from ctbench_core.atomic import dump_json
from ctbench_core.compare import compare_runs
from ctbench_core.config import Config, set_keys
from ctbench_core.doctor import store as doctor
from ctbench_core.errors import CtbenchError
from ctbench_core.runs import (
    VALIDATION,
    RunStore,
    active_runs,
    convergence,
    damaged_in,
    disclosures_of,
    open_run,
    read_alignment,
    read_frame,
    read_metrics,
    read_provenance,
    read_result_csv,
    read_tuning,
    run_folders,
    set_id_of,
    why_not_resumable,
    write_parquet,
)
from ctbench_ui.shared import cache

STORE = Path(__file__).resolve().parents[1] / "tests" / "data" / "store-0.1.1.zip"
TEXTS = (".json", ".jsonl", ".yaml")
# Values of another type than the field has; a field that may be null or text keeps its meaning with these.
VALUES = (None, [], {}, "text", float("nan"), 1e308, 10**400, True, "2026-11-28T08:00:00", [[[[]]]], -1.5)


@dataclasses.dataclass(frozen=True)
class Damage:
    """What is done to which file of the store."""

    file: str
    what: str


def unpack(folder: Path) -> Path:
    """Copy the small store into a folder, which becomes the working folder since the store's paths are relative."""
    shutil.copytree(_unpacked(), folder, dirs_exist_ok=True)
    return folder / "outputs"


@functools.cache
def _unpacked() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with zipfile.ZipFile(STORE) as archive:
        archive.extractall(folder)
    for table in (folder / "outputs").rglob("*.parquet"):  # as this release writes them: with checksums
        write_parquet(table, pd.read_parquet(table))
    return folder


def damage(root: Path, draw: random.Random, file: Path | None = None) -> Damage:
    """Damage a file below ``root`` that is drawn, in a way that is drawn."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    by_kind: dict[str, list[Path]] = {}
    for path in files:
        by_kind.setdefault(path.name, []).append(path)
    file = file or draw.choice(by_kind[draw.choice(sorted(by_kind))])
    ways: list[Callable[[Path, random.Random], str]] = [_empty, _cut, _bytes, _folder, _closed, _nested]
    if file.suffix in TEXTS:
        ways += [_field] * 12
    elif file.suffix in (".csv", ".parquet"):
        ways += [_column] * 3
    what = draw.choice(ways)(file, draw)
    return Damage(file.relative_to(root).as_posix(), what)


def _empty(file: Path, draw: random.Random) -> str:
    file.write_bytes(b"")
    return "empty"


def _cut(file: Path, draw: random.Random) -> str:
    content = file.read_bytes()
    place = draw.randrange(1, max(2, len(content) - 2))
    file.write_bytes(content[:place])
    return f"cut at byte {place}"


def _bytes(file: Path, draw: random.Random) -> str:
    content = bytearray(file.read_bytes())
    place = draw.randrange(max(1, len(content) - 4))
    content[place : place + 4] = b"\xff\xfe\x00\x81"
    file.write_bytes(bytes(content))
    return f"bytes that are not UTF-8 at {place}"


def _folder(file: Path, draw: random.Random) -> str:
    file.unlink()
    file.mkdir()
    return "a folder"


def _closed(file: Path, draw: random.Random) -> str:
    """Make reading fail: a link to itself, since an administrator may read every file."""
    file.unlink()
    file.symlink_to(file.name)
    return "a link to itself"


def _nested(file: Path, draw: random.Random) -> str:
    opening, closing = ('{"a":', "}") if draw.random() < 0.5 else ("[", "]")
    file.write_text(opening * 100_000 + "1" + closing * 100_000, encoding="utf-8")
    return "nested 100,000 deep"


def _field(file: Path, draw: random.Random) -> str:
    """Give a field of a JSON, JSON lines or YAML file a value of another type."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".yaml":
        content, what = _changed(yaml.safe_load(text), draw)
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
    elif file.suffix == ".json":
        content, what = _changed(json.loads(text), draw)
        file.write_text(json.dumps(content), encoding="utf-8")
    else:
        lines = text.splitlines()
        place = draw.randrange(len(lines))
        content, what = _changed(json.loads(lines[place]), draw)
        lines[place] = json.dumps(content)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        what = f"line {place + 1}: {what}"
    return what


def _changed(content: Any, draw: random.Random) -> tuple[Any, str]:
    holders = [("", None, None), *_fields(content)]
    where, holder, key = draw.choice(holders)
    present = content if holder is None else holder[key]
    others = [value for value in VALUES if type(value) is not type(present) and value is not None]
    if present is None:  # a number there would be content, not damage
        others = [value for value in others if isinstance(value, (list, dict, bool))]
    value = draw.choice(others)
    if draw.random() < 0.15 and isinstance(present, (dict, list, bool)):
        value = None
    if where == "/state":
        value = "unknown"
    if isinstance(present, float) and draw.random() < 0.3:
        value = draw.choice([float("nan"), 1e308])
    if isinstance(present, int) and draw.random() < 0.3:
        value = 10**400
    if holder is None:
        return value, f"all is {str(value)[:30]}"
    holder[key] = value
    return content, f"{where} is {str(value)[:30]}"


def _fields(content: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield f"{where}/{key}", content, key
        yield from _fields(value, f"{where}/{key}")


def _column(file: Path, draw: random.Random) -> str:
    """Leave out a column of a table, or fill it with text."""
    frame = pd.read_parquet(file) if file.suffix == ".parquet" else read_result_csv(file)
    numbers = [name for name in frame if is_numeric_dtype(frame[name])] or list(frame)
    is_left_out = draw.random() < 0.5
    column = draw.choice(list(frame) if is_left_out else numbers)
    frame = frame.drop(columns=column) if is_left_out else frame.assign(**{column: "?"})
    if file.suffix == ".parquet":
        frame.to_parquet(file, index=False)
    else:
        frame.to_csv(file, index=False)
    return f"column {column} {'left out' if is_left_out else 'is text'}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one reader said: a value as JSON, an error of this program, or a traceback."""

    value: str = ""
    error: str = ""
    crash: str = ""


def ask(reader: Callable[[], Any]) -> Answer:
    """Return what a reader says, whatever happens."""
    try:
        return Answer(value=dump_json(reader()))
    except CtbenchError as error:
        return Answer(error=str(error))
    except Exception:  # noqa: BLE001  any other is what is looked for
        return Answer(crash=traceback.format_exc())


def _own(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the name of its validation set, which counts the sets of all readable runs."""
    return {name: value for name, value in row.items() if name not in ("validation_name", "validation_number")}


def answers(root: Path, names: list[str]) -> dict[str, Answer]:
    """Ask every reader of a store: those of the whole store by name, those of a run by its folder below the store."""
    rows = ask(lambda: {_below(row["run_dir"], root): _own(row) for row in cache.run_rows(str(root), None)})
    asked: dict[str, Callable[[], Any]] = {
        "list": lambda: sorted(_below(run.paths.root, root) for run in RunStore(root).runs(None)),
        "start": lambda: [run.run_id for run in RunStore(root).mark_interrupted()],
        "active": lambda: list(active_runs(root)),
        "study": lambda: _study(root),
        "aggregate": lambda: _aggregate(root),
        "doctor": lambda: _doctor(root),
    }
    said = {name: ask(reader) for name, reader in asked.items()} | {
        "rows": Answer(rows.value and "rows", crash=rows.crash)
    }
    known = json.loads(rows.value or "{}")
    for name in names:
        said[name] = ask(lambda name=name: run_figures(root / name))
        said[f"row {name}"] = Answer(value=json.dumps(known.get(name)))
    trained = sorted(name for name in names if name.startswith("train/"))
    for one, other in itertools.pairwise(trained):
        said[f"compare {one} {other}"] = ask(lambda one=one, other=other: _compare(root / one, root / other))
    return said


def _below(folder: Path | str, root: Path) -> str:
    return Path(folder).relative_to(root).as_posix()


def run_figures(folder: Path) -> dict[str, Any]:
    """Return everything that pages and verbs read of a run."""
    run = open_run(folder)
    sets = run.evaluations()
    metrics = {name: read_metrics(run.paths.evaluation(name).metrics) for name in sets}
    record = convergence(run)
    return {
        "status": dataclasses.asdict(run.status),
        "config": run.config.to_dict(),
        "best": run.best(),
        "history": run.history(),
        "notes": dataclasses.asdict(run.annotations()),
        "convergence": record and record.to_json(),
        "volumes": read_provenance(run.paths).count("volumes", "train"),
        "resume": why_not_resumable(run),
        "tuning": read_tuning(run.paths.tuning),
        "metrics": {name: one and one.to_json() for name, one in metrics.items()},
        "disclosures": {name: disclosures_of([run], name).to_json() for name in sets},
        "sets": {name: set_id_of(run, name) for name in (*sets, VALIDATION)},
        "alignments": {name: read_alignment(run.paths.alignment(name)) for name in run.alignments()},
        "tables": {_below(path, folder): read_frame(path).to_csv() for path in _tables(folder)},
    }


def _tables(folder: Path) -> list[Path]:
    """Return the tables of a run's results that its folder lists."""
    return sorted(path for path in folder.rglob("*") if path.suffix in (".parquet", ".csv"))


def _study(root: Path) -> Any:
    said = {}
    for paths in studies.studies_in(root):
        plan = studies.read_plan(paths)
        results = studies.read_results(paths, plan)
        cells = studies.cell_frame(paths, plan, results, cached_only=True)
        status = dataclasses.asdict(studies.study_status(paths, plan))
        said[paths.root.name] = [status, studies.run_table(plan, results).to_csv(), cells.to_csv()]
    return said


def _aggregate(root: Path) -> Any:
    runs, warnings = legacy.find_runs(root, root)
    return [legacy.per_run_table(runs).to_dict("records"), warnings]


def _doctor(root: Path) -> Any:
    config = set_keys(Config(), {"paths.outputs_root": str(root)})
    return [str(check(config)) for check in (doctor.readable, doctor.unfinished, doctor.checkpoints)]


def _compare(first: Path, second: Path) -> Any:
    return compare_runs([first, second]).to_json([first, second])


def judge(done: Damage, before: dict[str, Answer], after: dict[str, Answer], named: dict[str, str]) -> dict[str, str]:
    """Return what is wrong, by reader: a traceback, or a figure that changed and nobody said why.

    Args:
        named: what is wrong with each damaged run that the store names, by its folder below the store.
    """
    owner = "/".join(done.file.split("/")[:2])
    file = Path(done.file).name
    wrong = {}
    for name, answer in after.items():
        if answer.crash:
            wrong[name] = f"traceback: {answer.crash.strip().splitlines()[-1][:200]}"
        elif answer == before[name] or (owner in named and (owner in name or name in _OF_ALL)):
            continue
        elif file not in answer.error + answer.value:
            wrong[name] = f"changed, and {file} is not named: {_difference(before[name], answer)}"
    return wrong


# Readers of the whole store, which leave a damaged run out or name it.
_OF_ALL = ("list", "rows", "study", "aggregate", "doctor", "start")


def _difference(before: Answer, after: Answer) -> str:
    """Return where two answers begin to differ."""
    texts = [answer.value + answer.error for answer in (before, after)]
    place = next((k for k, (one, other) in enumerate(zip(*texts)) if one != other), min(map(len, texts)))
    return " -> ".join(text[max(0, place - 40) : place + 40] for text in texts)


class Ground:
    """A small store, whole, what its readers say of it, and copies to damage."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        root = unpack(folder / "whole")
        self.names = [_below(place, root) for place in run_folders(root)]
        with self.copy() as copy:
            self.before = answers(copy, self.names)

    @contextlib.contextmanager
    def copy(self) -> Iterator[Path]:
        """Yield the run store of a new copy, whose folder is the working folder; it is removed afterwards."""
        self._number += 1
        folder = self._folder / str(self._number)
        shutil.copytree(self._folder / "whole", folder)
        with contextlib.chdir(folder):
            yield Path("outputs")
        shutil.rmtree(folder)

    def damage_once(self, draw: random.Random) -> tuple[Damage, dict[str, str], dict[str, str]]:
        """Damage a copy; return what was done, the damaged runs that the store names, and what is wrong by reader."""
        with self.copy() as root:
            done = damage(root, draw)
            runs = [*damaged_in(root, thorough=True), *cache.damaged_rows(str(root))]
            named = {_below(run.folder, root): run.reason for run in runs}
            return done, named, judge(done, self.before, answers(root, self.names), named)


def main(number: int = 200, seed: int = 1) -> int:
    """Damage a store a number of times and print what went wrong; return 1 if anything did."""
    draw, totals = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        ground = Ground(Path(temporary))
        for k in range(number):
            done, named, wrong = ground.damage_once(draw)
            totals.update(
                {text.split(":")[0].split(",")[0] for text in wrong.values()}
                or {"named" if named else "no figure changed"}
            )
            print(
                f"{k + 1} {done.file}: {done.what}: {'wrong' if wrong else 'named' if named else 'no figure changed'}",
                flush=True,
            )
            for name, text in wrong.items():
                print(f"    {name}: {text}", flush=True)
    print(", ".join(f"{text} {count}" for text, count in totals.items()))
    return int(bool(totals["traceback"] + totals["changed"]))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
