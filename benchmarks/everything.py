"""Measure every subject of the speed table, each beside another way and its limit: ``python -m benchmarks all``.

Under twenty minutes on two idle cores. Writes ``benchmarks/results.json`` and the table between the marks of
``benchmarks/README.md``. ``--only pack alignment`` measures some rows and keeps the others; ``--data`` names the CT-RATE
folder of the test data, without which the study is left out.

A limit is what the same machine needs for the work that no program can leave out: system calls, or matrix products.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import processes
from benchmarks.results_table import README, put_between_marks
from ctbench_core.demo import write_demo
from ctbench_core.palette import FINDINGS

RESULTS = Path(__file__).with_name("results.json")
_MARKS = "<!-- table -->", "<!-- end of table -->"
_PACKAGES = ("ctbench", "numpy", "pandas", "pyarrow", "scikit-learn", "streamlit", "torch")
FILES, TEST, EPOCHS = 50_188, 3_039, 20
_CORE = ("-m", "ctbench_core")


@dataclass
class Row:
    """One line of the table.

    Attributes:
        ours: seconds. peak_gib: of the whole process, if measured.
        beside: seconds of other ways by name. limit: seconds of what no program can leave out, and what that is.
        more: other figures by name.
    """

    subject: str
    ours: float
    peak_gib: float | None = None
    beside: dict[str, float] = field(default_factory=dict)
    limit: tuple[float, str] | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass
class Place:
    """Where the subjects work: a folder for what they make, and the real data, if any."""

    folder: Path
    data: Path | None

    def features(self) -> Path:
        """Return a feature root of 50,188 ``.npz`` files with its manifests, made on the first call."""
        root = self.folder / "features"
        if not root.exists():
            part = self.folder / "writing"
            (part / "npz").mkdir(parents=True)
            draw = np.random.default_rng(0)
            vectors = draw.standard_normal((FILES, 512), dtype=np.float32)
            slopes = draw.standard_normal((512, len(FINDINGS)), dtype=np.float32) / 512**0.5
            labels = (vectors @ slopes + draw.standard_normal((FILES, len(FINDINGS))) > 1).astype(int)
            for number, vector in enumerate(vectors):
                np.savez(part / "npz" / f"train_{number}.npz", vector[None])
            (part / "manifests").mkdir()
            cuts = {"train": range(FILES - 2 * TEST), "valid": range(FILES - 2 * TEST, FILES - TEST)}
            for name, rows in (cuts | {"test": range(FILES - TEST, FILES)}).items():
                with (part / "manifests" / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                    writer = csv.writer(file)
                    writer.writerow(["volumename", "visual_feature_path", *FINDINGS])
                    writer.writerows(
                        [f"train_{row // 2}_a_{row % 2 + 1}.nii.gz", f"npz/train_{row}.npz", *labels[row]]
                        for row in rows
                    )
            part.rename(root)
        return root

    def overrides(self, outputs: str) -> list[str]:
        """Return the keys that choose the features and a fresh run store."""
        root = self.features()
        return [
            f"paths.data_root={root}",
            f"paths.manifest_dir={root / 'manifests'}",
            f"paths.outputs_root={self.folder / outputs}",
            "data.test_manifests=[test.csv]",
        ]


def _child(code: str, *arguments: object) -> Any:
    """Run code in a process of its own, which prints JSON last; return that."""
    return json.loads(processes.run(["-c", code, *map(str, arguments)]).output.splitlines()[-1])


_LOOP = """
import json, sys, time
from pathlib import Path
from benchmarks import features
folder, names = Path(sys.argv[1]) / "npz", features.names_of("npz", int(sys.argv[2]))
def calls(folder, names):
    import os
    for name in names:
        with open(f"{folder}/{name}", "rb", 0) as file:
            os.fstat(file.fileno()); file.readall()
times = {call.__name__: features.seconds(lambda: call(folder, names)) for call in (features.np_load, calls)}
print(json.dumps(times))
"""


@functools.cache
def _loops(root: Path) -> dict[str, float]:
    """Time one `np.load` a row, and the system calls alone, once for all rows of the table."""
    return dict(_child(_LOOP, root, FILES))


def pack(place: Place) -> list[Row]:
    """Time the whole verb, whose files are in the page cache."""
    times = _loops(place.features())
    outcomes = [processes.run([*_CORE, "pack", *place.overrides(f"pack{number}")]) for number in range(3)]
    quickest = min(outcomes, key=lambda one: one.seconds)
    return [
        Row(
            "`pack` of 50,188 `.npz`, the whole verb",
            quickest.seconds,
            quickest.peak_gib,
            {"one `np.load` a row": times["np_load"]},
            (times["calls"], "open, stat and read of each file"),
        )
    ]


_CONVENTIONAL = """
import json, sys, time
import numpy as np
from benchmarks import features
from benchmarks.training import BATCH, HIDDEN, TRAIN, VAL, Conventional, products, synthetic
import torch
x, y = synthetic()
loop = Conventional(x, y, np.arange(TRAIN), np.arange(TRAIN, TRAIN + VAL), HIDDEN, 1e-3)
theirs = min(features.seconds(loop.epoch) for _ in range(2))
with torch.inference_mode():
    alone = min(products(layout) for layout in ("in, out", "out, in") for _ in range(3))
print(json.dumps({"theirs": theirs, "products": alone}))
"""


@functools.cache
def _conventional() -> dict[str, float]:
    """Time an epoch of the conventional loop, and its matrix products alone, once for all rows of the table."""
    return dict(_child(_CONVENTIONAL))


def train(place: Place) -> list[Row]:
    """Time `train` from a folder that was never packed to test figures with intervals."""
    conventional = _conventional()
    loading = _loops(place.features())["np_load"]
    keys = [f"training.max_epochs={EPOCHS}", f"training.early_stopping_patience={EPOCHS}", "training.batch_size=64"]
    keys += ["model.params.hidden_dims=[1024]", "utils.device=cpu", "evaluation.after_training=true"]
    outcome = processes.run([*_CORE, "train", *place.overrides("train"), *keys])
    return [
        Row(
            f"`train` from a folder of 50,188 files to test figures, {EPOCHS} epochs of MLP 1024, batch 64",
            outcome.seconds,
            outcome.peak_gib,
            {f"conventional loop, {EPOCHS} times its epoch and its loading": EPOCHS * conventional["theirs"] + loading},
            (EPOCHS * conventional["products"], "matrix products"),
        )
    ]


_PRODUCTS = """
import json, sys, time
import numpy as np
from benchmarks import features
n = int(sys.argv[1])
x = np.random.default_rng(0).standard_normal((n, 512), dtype=np.float32)
out = np.empty((1024, n), np.float32)
def passes():
    for start in range(0, n, 1024):
        part = x[start:start + 1024]
        np.matmul(part, x.T, out=out[: len(part)])
print(json.dumps(2 * min(features.seconds(passes) for _ in range(2))))
"""


def alignment(place: Place) -> list[Row]:
    """Time exact alignment of both truths in both directions, beside a flat search of FAISS."""
    from benchmarks.alignment import measure, subjects

    rows = []
    for size, rounds in ((22_185, 3), (47_149, 1)):
        times: dict[str, float] = {}
        peak = 0.0
        for _ in range(rounds):
            for subject in (name for name in subjects() if name != "N x N"):
                result = measure(subject, size, "clip")
                times[subject] = min(result["seconds"], times.get(subject, np.inf))
                peak = max(peak, result["peak_gib"]) if subject == "ctbench" else peak
        ours = times.pop("ctbench")
        beside = {f"{name}, top 100 both ways, no ranks": seconds for name, seconds in times.items()}
        limit = (_child(_PRODUCTS, size), "two passes of products")
        rows.append(Row(f"alignment, both truths, both directions, N = {size:,}", ours, peak, beside, limit))
    return rows


_EPOCH = """
import json
import numpy as np
from benchmarks.training import HIDDEN, TRAIN, best, config, dataset, synthetic
from ctbench_core.train.trainer import Trainer
x, y = synthetic()
trainer = Trainer([config(HIDDEN, 1)], [dataset(x, y, np.arange(TRAIN))])
count = iter(range(1, 100))
trainer.run_epoch([next(count)])
print(json.dumps(best(lambda: trainer.run_epoch([next(count)]))))
"""
_BANK = """
import json, torch
from benchmarks.training import arithmetic, best, budget_bank, train_stacks
from ctbench_core.train.planning import divide_into_stacks
configs, sets = budget_bank(256, 384)
forms = divide_into_stacks(configs, sets), [[k] for k in range(60)]
together, alone = (best(lambda: train_stacks(configs, sets, stacks, 6), 5) for stacks in forms)
with torch.inference_mode():
    least = [best(lambda: arithmetic(sets, stacks, 256, 6), 5) for stacks in forms]
print(json.dumps([together, alone, *least]))
"""


def engine(place: Place) -> list[Row]:
    """Time one epoch, and a bank of 60 heads."""
    conventional, ours = _conventional(), _child(_EPOCH)
    together, alone, least, least_alone = _child(_BANK)
    beside = {"conventional loop": conventional["theirs"]}
    return [
        Row(
            "epoch with validation, 47,149 x 512, MLP 1024, batch 64",
            ours,
            None,
            beside,
            (conventional["products"], "matrix products"),
        ),
        Row(
            "bank of 60 heads, 6 epochs of MLP 384-256",
            together,
            None,
            {"one by one": alone, "one by one, its products and Adam alone": least_alone},
            (least, "its products and Adam"),
        ),
    ]


def study(place: Place) -> list[Row]:
    """Time a run of the label-budget study of 120 runs on the real data."""
    if place.data is None:
        print("study: left out, since --data names no folder of the real data")
        return []
    arguments = ["-m", "benchmarks.study", str(place.data / "features" / "minilm"), str(place.data / "manifests")]
    outcome = processes.run(arguments)
    print(outcome.output)
    ours, theirs = (float(one) for one in re.findall(r"([\d.]+) s (?:per|a) run", outcome.output)[:2])
    return [Row("a run of a study of 120", ours, outcome.peak_gib, {"one by one, conventional loop": theirs})]


def command_line(place: Place) -> list[Row]:
    """Time three verbs on the demo data, whole processes, beside the import of torch."""
    demo = write_demo(place.folder / "demo")
    keys = [f"paths.data_root={demo['data_root']}", f"paths.manifest_dir={demo['manifest_dir']}"]
    keys += [f"paths.outputs_root={place.folder / 'demo-outputs'}", "utils.device=cpu"]
    verbs = {
        "`--help`": ["--help"],
        "`check` on the demo data": ["check", *keys],
        "`train` on the demo data, with its test": ["train", *keys, "evaluation.after_training=true"],
    }
    torch = processes.least(["-c", "import torch"], 5).seconds
    rows = []
    for name, arguments in verbs.items():
        outcome = processes.least([*_CORE, *arguments], 5)
        rows.append(Row(f"command line: {name}", outcome.seconds, outcome.peak_gib, {"`import torch` alone": torch}))
    return rows


def pages(place: Place) -> list[Row]:
    """Time clicks in Chromium, with 5,000 runs and an evaluation of 47,149 x 18, and the first visits of a server."""
    from benchmarks import pages as page_benchmark
    from tests.browser.browser_user import open_app
    from tests.browser.timings import PAGES, measure

    folder = place.folder / "pages"
    page_benchmark.prepare(folder, page_benchmark.RUNS)
    with open_app(folder) as new_user:
        timings = measure(new_user(), 5)
    with open_app(folder) as new_user:
        user, first = new_user(), {}
        for address in PAGES:
            started = time.perf_counter()
            user.go(address)
            user.settle()
            first[address or "home"] = round(time.perf_counter() - started, 2)
    more = {"largest message, kB": round(max(timings.sizes) / 1e3), "first visits after a start, s": first}
    rows = [
        Row(f"app, {page_benchmark.RUNS:,} runs, 47,149 x 18, p95: {kind}", value / 1e3)
        for kind, value in timings.p95().items()
    ]
    rows[-1].more |= more
    return rows


def memory(place: Place) -> list[Row]:
    """Let three browsers and trainings use a server for four minutes; tell its memory after one and at the end."""
    log = place.folder / "soak.jsonl"
    outcome = processes.run(["-m", "benchmarks.soak", "4", "0", "--browsers", "3", "--log", str(log)])
    samples = [json.loads(line)[:2] for line in log.read_text(encoding="utf-8").splitlines()]
    held = [figures["memory"] for second, figures in samples if second >= 60]
    part = max(1, len(held) // 4)
    first, last = (round(float(np.median(some))) for some in (held[:part], held[-part:]))
    return [
        Row(
            "app server under four minutes of three browsers and trainings",
            outcome.seconds,
            max(held) / 1024,
            more={"MiB, first and last quarter after a minute": [first, last]},
        )
    ]


SUBJECTS: dict[str, Callable[[Place], list[Row]]] = {
    one.__name__: one for one in (pack, train, alignment, engine, study, command_line, pages, memory)
}


def machine() -> dict[str, str]:
    """Return the machine and the versions."""
    names = {f"Python {platform.python_version()}": ""} | {f"{name} {_version(name)}": "" for name in _PACKAGES}
    cores = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    return {"machine": cores, "versions": ", ".join(names), "date": time.strftime("%Y-%m-%d")}


def _version(name: str) -> str:
    from ctbench_core import __version__

    return __version__ if name == "ctbench" else version(name)


def table(results: dict[str, Any]) -> str:
    """Return the Markdown of stored results."""
    lines = ["| work | ours | beside it | limit |", "|---|---|---|---|"]
    for rows in results["subjects"].values():
        for row in rows:
            ours = _duration(row["ours"]) + (f", {row['peak_gib']:.2f} GiB" if row["peak_gib"] else "")
            ours += "".join(f"; {name}: {value}" for name, value in row["more"].items())
            beside = "; ".join(
                f"{name} {_duration(seconds)} ({seconds / row['ours']:.2f}x)" for name, seconds in row["beside"].items()
            )
            limit = (
                f"{row['limit'][1]} {_duration(row['limit'][0])} ({row['ours'] / row['limit'][0]:.2f} of it)"
                if row["limit"]
                else ""
            )
            lines.append(f"| {row['subject']} | {ours} | {beside} | {limit} |")
    return "\n".join([*lines, "", f"{results['machine']}; {results['versions']}; {results['date']}."])


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def main(arguments: list[str] | None = None) -> None:
    """Measure, store and print the subjects."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks all", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(SUBJECTS), default=list(SUBJECTS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path, help="keep what is made here")
    options = parser.parse_args(arguments)
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"subjects": {}}
    results |= machine()
    with tempfile.TemporaryDirectory() as scratch:
        place = Place(options.folder or Path(scratch), options.data)
        for name in options.only:
            started = time.perf_counter()
            rows = SUBJECTS[name](place)
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
            if rows:
                results["subjects"][name] = [asdict(row) for row in rows]
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    results["subjects"] = {name: results["subjects"][name] for name in SUBJECTS if name in results["subjects"]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    put_between_marks(_MARKS, table(results), README)
    print(table(results))
