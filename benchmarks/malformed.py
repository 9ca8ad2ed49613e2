"""Give every verb malformed input of every kind of file it reads, and judge what it says.

``python -m benchmarks.malformed [number] [seed]``. Each time one file of a small good case, or one override, is made
wrong in a way that is drawn, and the verb runs in a forked process with a limit of time. Wrong are a traceback, the end
of the process by a signal, more than 10 s of processor time, more than 2 GB, and a result that differs from the good one's though no
message says anything that the good case's did not.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from ctbench_core.cli.main import main as run_verb
from ctbench_core.config import KEYS
from tests.old_system import train_old_run

# Seconds of processor time, since the machine may be busy; a verb that waits is ended by the clock.
LIMIT_S, WAIT_S, LIMIT_BYTES, LIMIT_SPACE = 10, 90, 2 * 10**9, 6 * 2**30
FINDINGS, WIDTH = ["A", "B"], 8
SUFFIXES = (".npz", ".npy", ".pt", ".pth", ".safetensors", ".h5")
VALUES = [
    "x",
    "-1",
    "2",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "0.5",
    "1,0",
    "٣",
    "\u202e1",
    "=1+1",
    "0x1",
    "1_0",
    "9" * 400,
    "?",
]
# Of a YAML field, whatever its type.
FIELDS = [
    None,
    [],
    {},
    "text",
    -1,
    float("nan"),
    float("inf"),
    10**400,
    True,
    [[[]]],
    "${oc.env:HOME}",
    "${x}",
    "\0",
    "../..",
]
OVERRIDES = [
    "",
    "text",
    "-1",
    "nan",
    "inf",
    "1e400",
    "[",
    "[1,2]",
    "{a: 1}",
    "'",
    "${x}",
    "${oc.env:HOME}",
    "9" * 400,
    "é",
    "true",
    "1e-400",
    "null",
    "a=b",
]
Draw = random.Random


@dataclass
class Case:
    """A verb with good input: its arguments, and the file of the small data set that is made wrong."""

    kind: str
    arguments: list[str]
    file: str
    setup: list[str] = field(default_factory=list)


def write_ground(root: Path) -> None:
    """Write a small data set of every kind of file, which every verb accepts."""
    for folder in ("features/image", "manifests", "more", "tree"):
        (root / folder).mkdir(parents=True)
    draw = np.random.default_rng(3)
    frames = {
        split: _manifest(root, split, count, draw) for split, count in (("train", 20), ("valid", 12), ("test", 12))
    }
    vectors = {
        name: np.load(root / "features" / path)["arr_0"]
        for frame in frames.values()
        for name, path in zip(frame["volumename"], frame["visual_feature_path"])
    }
    for suffix in SUFFIXES[1:]:
        (root / f"features{suffix[1:]}/image").mkdir(parents=True)
        for name, vector in vectors.items():
            _write_vector(root / f"features{suffix[1:]}/image/{name}{suffix}", vector)
    _write_tables(root / "more", frames["train"], frames["test"], draw)
    _write_arrays(root / "more", vectors, draw)
    _write_configs(root)
    # A run of the older system, with data of its form.
    shutil.copytree(root / "features", root / "old/data/features")
    (root / "old/data/manifests").mkdir()
    columns = ["volumename", "visual_feature_path", "text_feature_path", *FINDINGS]
    for split, frame in frames.items():
        frame.assign(text_feature_path="")[columns].to_csv(root / f"old/data/manifests/{split}.csv", index=False)
    train_old_run(root / "old/outputs/job/2025-11-03_10-20-30", root / "old/data", FINDINGS, in_features=WIDTH)


def _manifest(root: Path, split: str, patients: int, draw: np.random.Generator) -> pd.DataFrame:
    rows = []
    for patient in range(1, patients + 1):
        name, vector = f"{split}_{patient}_a_1", draw.normal(size=WIDTH).astype(np.float32)
        labels = [int(vector[k] > 0) if patient > 4 else (patient + k) % 2 for k in range(2)]
        np.savez(root / "features/image" / f"{name}.npz", vector)
        rows.append(
            [name, f"image/{name}.npz", *labels, f"{40 + patient}", "MF"[patient % 2], f"nodule of {patient} mm, é"]
        )
    frame = pd.DataFrame(rows, columns=["volumename", "visual_feature_path", *FINDINGS, "age", "sex", "report"])
    frame.to_csv(root / "manifests" / f"{split}.csv", index=False)
    return frame


def _write_vector(path: Path, vector: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, vector)
    elif path.suffix in (".pt", ".pth"):
        torch.save(torch.from_numpy(vector), path)
    elif path.suffix == ".safetensors":
        header = json.dumps({"features": {"dtype": "F32", "shape": [WIDTH], "data_offsets": [0, 4 * WIDTH]}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + vector.tobytes())
    else:
        with h5py.File(path, "w") as file:
            file["features"] = vector


def _write_tables(folder: Path, train: pd.DataFrame, test: pd.DataFrame, draw: np.random.Generator) -> None:
    train.to_csv(folder / "train.tsv", index=False, sep="\t")
    train.to_csv(folder / "train.csv.gz", index=False)
    train.astype(dict.fromkeys(FINDINGS, "float64")).to_parquet(folder / "train.parquet", index=False)
    scores = test[["volumename"]].assign(patient_id=[f"p{k}" for k in range(len(test))])
    for label in FINDINGS:
        scores[f"target_{label}"], scores[f"prob_{label}"] = test[label], draw.uniform(size=len(test)).round(4)
    scores.to_csv(folder / "scores.csv", index=False)
    scores.to_parquet(folder / "scores.parquet", index=False)
    own = train.rename(columns={"volumename": "VolumeName"})
    for name, columns in {"labels": FINDINGS, "metadata": ["age"], "reports": ["report"]}.items():
        own[["VolumeName", *columns]].to_csv(folder / f"{name}.csv", index=False)
    chosen = pd.DataFrame(
        {"budget": 16, "seed": 1, "selection_value": train["volumename"][:16], "split": ["train"] * 11 + ["val"] * 5}
    )
    chosen.to_csv(folder / "selection_index.csv", index=False)
    train[["volumename"]][:3].to_csv(folder / "exclude.csv", index=False)
    (folder / "map.csv").write_text(
        "finding,columns,finding_definition,columns_definition,note,not_mapped\nA,A,a,a,,\nB,B,b,b,,\n",
        encoding="utf-8",
    )
    for name in ("first", "second"):
        runs = pd.DataFrame({"source": name, "budget_n": 50, "utils_seed": range(6), "cv_fold": 0})
        for metric in ("auprc", "auroc", "f1_macro"):
            runs[f"test_primary_{metric}"] = draw.uniform(size=6).round(3)
        runs.to_csv(folder / f"{name}.csv", index=False)


def _write_arrays(folder: Path, vectors: dict[str, np.ndarray], draw: np.random.Generator) -> None:
    ids, matrix = list(vectors), np.stack(list(vectors.values()))
    np.savez(folder / "matrix.npz", ids=np.array(ids), vectors=matrix)
    pq.write_table(pa.table({"volumename": ids, "features": list(matrix)}), folder / "matrix.parquet")
    image, groups = draw.normal(size=(20, WIDTH)).astype(np.float32), np.arange(20) // 2
    np.savez(folder / "pairs.npz", image=image, text=image + 1)
    np.savez(folder / "groups.npz", image=image, text=image + 1, groups_image=groups, groups_text=groups)
    np.savez(folder / "prompts.npz", labels=np.array(FINDINGS), positive=image[:2], negative=-image[:2])


def _write_configs(root: Path) -> None:
    base = {"paths.data_root": "features", "paths.manifest_dir": "manifests", "paths.outputs_root": "outputs", "training.max_epochs": 1,
            "model.params.hidden_dims": [4], "training.batch_size": 8}  # fmt: skip
    rates = {"training.learning_rate": {"low": 1e-4, "high": 1e-2}}
    contents = {
        "more/study.yaml": {"name": "s", "base": base, "grid": {"utils.seed": [1, 2], "budget": [16, "all"]}},
        "more/search.yaml": {"name": "f", "base": base, "space": rates, "trials": 2},
        "tree/config.yaml": {
            "training": {"learning_rate": 0.001},
            "data": {"columns": {"labels": FINDINGS}},
            "utils": {"seed": 1},
        },
    }
    for name, content in contents.items():
        (root / name).write_text(yaml.safe_dump(content), encoding="utf-8")


_PLACES = [
    "paths.data_root=features",
    "paths.manifest_dir=manifests",
    "paths.outputs_root=outputs",
    "training.target_labels=[A,B]",
]
_SMALL = ["training.max_epochs=1", "model.params.hidden_dims=[4]", "training.batch_size=8", "utils.device=cpu"]
_TRAIN = ["train", *_PLACES, *_SMALL, "evaluation.after_training=true"]


def cases() -> list[Case]:
    """Return the good cases, one for every kind of file; a feature format is a file of one vector of the test or training set."""
    features = [
        Case(f"features {name}", [*_TRAIN, f"paths.data_root=features{name[1:] if name != '.npz' else ''}"],
             f"features{name[1:] if name != '.npz' else ''}/image/{volume}{name}")
        for name in SUFFIXES for volume in ("train_3_a_1", "test_2_a_1")
    ]  # fmt: skip
    manifests = [
        Case(
            f"manifest {name}",
            [*_TRAIN, f"data.train_manifest={os.path.relpath(f'more/{name}', 'manifests')}"],
            f"more/{name}",
        )
        for name in ("train.tsv", "train.csv.gz", "train.parquet")
    ]
    prepare = [
        "prepare",
        "labels_csv=more/labels.csv",
        "metadata_csv=more/metadata.csv",
        "reports_csv=more/reports.csv",
        "output_file=new.csv",
    ]
    old = "old/outputs/job/2025-11-03_10-20-30"
    return [
        *features,
        *manifests,
        *(Case(f"manifest {split}.csv", _TRAIN, f"manifests/{split}.csv") for split in ("train", "valid", "test")),
        Case("manifest check", ["check", *_PLACES], "manifests/train.csv"),
        Case("matrix npz", [*_TRAIN, "paths.data_root=more/matrix.npz"], "more/matrix.npz"),
        Case("matrix parquet", [*_TRAIN, "paths.data_root=more/matrix.parquet"], "more/matrix.parquet"),
        Case("pack", ["pack", *_PLACES], "features/image/train_5_a_1.npz"),
        Case("scores csv", ["score", "more/scores.csv", "paths.outputs_root=outputs"], "more/scores.csv"),
        Case("scores parquet", ["score", "more/scores.parquet", "paths.outputs_root=outputs"], "more/scores.parquet"),
        Case("scores and manifest", ["score", "more/scores.csv", "manifest=manifests/test.csv", "paths.outputs_root=outputs"], "manifests/test.csv"),
        Case("pairs", ["align", "embeddings=more/pairs.npz", "paths.outputs_root=outputs"], "more/pairs.npz"),
        Case("groups", ["align", "embeddings=more/groups.npz", "paths.outputs_root=outputs"], "more/groups.npz"),
        Case("prompts", [*_TRAIN, "model=zero_shot", "model.prompts=more/prompts.npz"], "more/prompts.npz"),
        *(Case(f"prepare {name}", prepare, f"more/{name}.csv") for name in ("labels", "metadata", "reports")),
        Case("agree", ["agree", "first_csv=manifests/train.csv", "second_csv=more/train.tsv"], "more/train.tsv"),
        Case("selection", [*_TRAIN, "data.selection=more/selection_index.csv"], "more/selection_index.csv"),
        Case("exclude", [*_TRAIN, "data.cohort.exclude=more/exclude.csv"], "more/exclude.csv"),
        Case("label map", [*_TRAIN, "data.labels.rename=more/map.csv"], "more/map.csv"),
        Case("budgets", ["budgets", "budgets=[8]", "output_dir=split", *_PLACES], "manifests/train.csv"),
        Case("contrast", ["contrast", "first=more/first.csv", "second=more/second.csv", "output_dir=out"], "more/second.csv"),
        Case("study", ["study", "more/study.yaml"], "more/study.yaml"),
        Case("search", ["search", "more/search.yaml"], "more/search.yaml"),
        Case("tree", [*_TRAIN, "--config-dir", "tree"], "tree/config.yaml"),
        *(Case("old run", ["import", old, "paths.outputs_root=outputs"], f"{old}/{name}")
          for name in (".hydra/config.yaml", ".hydra/hydra.yaml", "metrics.jsonl", "best_metrics.json", "checkpoints/final_model.pt")),
        *([Case("override", _TRAIN, "")] * 4),
    ]  # fmt: skip


# --- ways to make a file wrong; each returns what it did ---


def spoil(path: Path, draw: Draw) -> str:
    """Make a file wrong in a way that is drawn from those of its kind."""
    name = path.name
    ways: list[Callable[[Path, Draw], str]] = [_raw]
    if name.endswith((".csv", ".tsv", ".csv.gz")):
        ways = [_raw, *[_cell] * 4, *[_rows] * 3, _encoding]
    elif name.endswith(".parquet"):
        ways = [_raw, *[_frame] * 4]
    elif name.endswith((".yaml", ".json", ".jsonl")):
        ways = [_raw, *[_field] * 5, _yaml]
    elif name.endswith(".npz"):
        ways = [_raw, *[_arrays] * 5]
    else:
        ways = [_raw, *[_vector] * 4]
    return draw.choice(ways)(path, draw)


def _raw(path: Path, draw: Draw) -> str:
    """Damage the bytes, whatever they mean."""
    content = path.read_bytes()
    place = draw.randrange(max(1, len(content)))
    ways = {
        "empty": lambda: b"",
        f"cut at {place}": lambda: content[:place],
        f"zeros from {place}": lambda: content[:place] + bytes(len(content) - place),
        "random bytes": lambda: draw.randbytes(500),
        "a pickle": lambda: pickle.dumps({"a": Path}),
        "a gzip bomb": lambda: gzip.compress(content) + _bombs()["zeros"] * 200,
        "a gzip bomb below the ratio": lambda: gzip.compress(content) + _bombs()["rows"] * 30,
        "a zip bomb": lambda: _bombs()["zip"],
        "a folder": lambda: None,
        "a pipe": lambda: None,
    }
    what = draw.choice(list(ways))
    if what == "a folder":
        path.unlink()
        path.mkdir()
    elif what == "a pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        path.write_bytes(ways[what]())
    return what


@functools.cache
def _bombs() -> dict[str, bytes]:
    """Return gzip of 16 MB of zeros, gzip of 10 MB of rows, and a zip of arrays with 500 MB of zeros."""
    stream, head, zeros = io.BytesIO(), io.BytesIO(), bytes(60 * 2**20)
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (len(zeros) // 4,)})
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("image", "text", "features", "ids", "vectors", "labels", "positive", "negative"):
            file.writestr(f"{name}.npy", head.getvalue() + zeros)
    rows = "".join(f"train_{row}_b_1,x/{row},1,0,1,M,r\n" for row in range(350_000))
    return {"zeros": gzip.compress(bytes(2**24)), "rows": gzip.compress(rows.encode(), 1), "zip": stream.getvalue()}


def _read_rows(path: Path) -> tuple[list[list[str]], str]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    separator = "\t" if path.suffix == ".tsv" else ","
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, sep=separator, header=None)
    return frame.to_numpy().tolist(), separator


def _write_rows(path: Path, rows: list[list[str]], separator: str, encode: Callable[[str], bytes] = str.encode) -> None:
    quoted = [[f'"{cell}"' if separator in cell else cell for cell in row] for row in rows]
    content = encode("".join(separator.join(row) + "\n" for row in quoted))
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _cell(path: Path, draw: Draw) -> str:
    rows, separator = _read_rows(path)
    row, column, value = draw.randrange(1, len(rows)), draw.randrange(len(rows[0])), draw.choice([*VALUES, ""])
    rows[row][column] = value
    _write_rows(path, rows, separator)
    return f"row {row}, {rows[0][column]}: {value[:20]!r}"


def _rows(path: Path, draw: Draw) -> str:
    rows, separator = _read_rows(path)
    row, column = draw.randrange(1, len(rows)), draw.randrange(len(rows[0]))
    ways: dict[str, Callable[[], object]] = {
        "row twice": lambda: rows.append(rows[row]),
        "id twice": lambda: rows[row].__setitem__(0, rows[1 + row % (len(rows) - 1)][0]),
        "short row": rows[row].pop,
        "long row": lambda: rows[row].append("1"),
        "header twice": lambda: rows[0].__setitem__(column, rows[0][column - 1]),
        "column twice": lambda: [one.append(one[column]) for one in rows],
        "header blank": lambda: rows[0].__setitem__(column, ""),
        f"no column {rows[0][column]}": lambda: [one.pop(column) for one in rows],
        f"header {rows[0][column]} renamed": lambda: rows[0].__setitem__(column, "zzz"),
        "header only": lambda: rows.__delitem__(slice(1, None)),
        "header among the rows": lambda: rows.insert(row, list(rows[0])),
        "no header": lambda: rows.pop(0),
        f"all {rows[0][column]} of one text": lambda: [one.__setitem__(column, "maybe") for one in rows[1:]],
    }
    what = draw.choice(list(ways))
    ways[what]()
    _write_rows(path, rows, separator)
    return f"{what} ({row})"


def _encoding(path: Path, draw: Draw) -> str:
    rows, separator = _read_rows(path)
    rows[1][-1] += "é"
    ways: dict[str, Callable[[str], bytes]] = {
        "cp1252": lambda text: text.encode("cp1252"),
        "utf-16 without BOM": lambda text: text.encode("utf-16-le"),
        "utf-32": lambda text: text.encode("utf-32"),
        "NUL": lambda text: text.replace("_a_", "\0_", 1).encode(),
        "an open quote": lambda text: text.replace("_a_1", '_a_1"', 1).encode(),
        "surrogates": lambda text: text.encode() + b"\xed\xa0\x80",
    }
    what = draw.choice(list(ways))
    _write_rows(path, rows, separator, ways[what])
    return what


def _frame(path: Path, draw: Draw) -> str:
    table = pq.read_table(path)
    column = draw.choice(table.column_names)
    place, count = table.column_names.index(column), table.num_rows
    plain = pa.array(["x"] * count)
    big = pa.DictionaryArray.from_arrays(pa.array(np.zeros(300_000, np.int32)), pa.array(["x" * 100_000]))
    ways: dict[str, Callable[[], pa.Table]] = {
        "lists": lambda: table.set_column(place, column, pa.array([["a"]] * count)),
        "bytes": lambda: table.set_column(place, column, pa.array([b"a"] * count)),
        "nulls": lambda: table.set_column(place, column, pa.nulls(count, pa.float64())),
        "infinities": lambda: table.set_column(place, column, pa.array([np.inf] * count)),
        "texts": lambda: table.set_column(place, column, plain),
        "dates": lambda: table.set_column(place, column, pa.array([0] * count, pa.timestamp("s"))),
        "complex": lambda: table.set_column(place, column, pa.array([{"re": 1.0, "im": 0.0}] * count)),
        "missing": lambda: table.drop_columns([column]),
        "rows twice": lambda: pa.concat_tables([table, table.slice(0, 1)]),
        "no rows": lambda: table.slice(0, 0),
        "vectors of two widths": lambda: table.set_column(place, column, pa.array([[1.0] * (8 + k % 2) for k in range(count)])),
        "null vectors": lambda: table.set_column(place, column, pa.array([[1.0] * 8] * (count - 1) + [None])),
        "NaN vectors": lambda: table.set_column(place, column, pa.array([[float("nan")] * 8] * count)),
        "bomb": lambda: pa.table({column: big, "volumename" if column != "volumename" else "A": pa.array(np.zeros(300_000))}),
    }  # fmt: skip
    what = draw.choice(list(ways))
    pq.write_table(ways[what](), path, store_schema=what != "bomb", compression="zstd")
    return f"{column}: {what}"


def _spoiled_array(array: np.ndarray, draw: Draw) -> tuple[str, np.ndarray | bytes]:
    flat = np.atleast_1d(array)
    is_text = flat.dtype.kind in "US"

    def one(value: Any) -> np.ndarray:
        changed = flat.copy() if is_text else flat.astype(np.float64)
        changed.reshape(-1)[draw.randrange(flat.size)] = value
        return changed

    ways: dict[str, Callable[[], np.ndarray | bytes]] = {
        "NaN": lambda: one("" if is_text else np.nan),
        "inf": lambda: one("x" if is_text else np.inf),
        "1e300": lambda: one(flat.reshape(-1)[0] if is_text else 1e300),
        "wider": lambda: np.concatenate([flat, flat[..., :1]], axis=-1),
        "shorter": lambda: flat[:-1],
        "more axes": lambda: np.stack([flat, flat]),
        "empty": lambda: flat[:0],
        "a scalar": lambda: np.float32(1),
        "complex": lambda: np.ones(flat.shape, np.complex64),
        "objects": lambda: np.full(flat.shape, {}, object),
        "texts": lambda: np.full(flat.shape, "a"),
        "dates": lambda: np.zeros(flat.shape, "datetime64[s]"),
        "a record": lambda: np.zeros(flat.shape, [("a", "f4")]),
        "a huge header": lambda: _npy_header(f"({10**12},)"),
        "a negative header": lambda: _npy_header("(-8,)"),
        "a header of code": lambda: _npy_header("(__import__('os').getpid(),)"),
        "zeros": lambda: np.zeros(flat.shape, flat.dtype),
    }
    what = draw.choice(list(ways))
    return what, ways[what]()


def _npy_header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(4 * WIDTH)


def _npy(array: np.ndarray | bytes) -> bytes:
    if isinstance(array, bytes):
        return array
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _arrays(path: Path, draw: Draw) -> str:
    with np.load(path) as file:
        arrays: dict[str, Any] = dict(file)
    name = draw.choice(sorted(arrays))
    way = draw.randrange(6)
    if way == 0 and len(arrays) > 1:
        what, arrays = "missing", {key: value for key, value in arrays.items() if key != name}
    elif way == 1:
        what, arrays = "under another name, twice", {"one": arrays[name], "two": arrays[name]}
    else:
        what, arrays[name] = _spoiled_array(arrays[name], draw)
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in arrays.items():
            archive.writestr(f"{key}.npy", _npy(array))
    return f"{name}: {what}"


def _vector(path: Path, draw: Draw) -> str:
    """Make one vector of a format other than .npz wrong."""
    what, array = _spoiled_array(np.arange(WIDTH, dtype=np.float32), draw)
    if path.suffix == ".npy" or isinstance(array, bytes):
        path.write_bytes(_npy(array))
    elif path.suffix in (".pt", ".pth"):
        others = [[1.0], "text", {"a": 1}, torch.nn.Linear(2, 2), torch.sparse_coo_tensor([[0]], [1.0], (8,)), torch.zeros(1).expand(10**9),
                  {"a": torch.ones(8), "b": torch.ones(8)}, [torch.ones(8)] * 3, torch.nn.Parameter(torch.full((8,), torch.nan))]  # fmt: skip
        kinds = array.dtype.kind in "fi"
        what, value = (
            (what, torch.from_numpy(np.array(array)))
            if kinds and draw.random() < 0.5
            else ("other content", draw.choice(others))
        )
        torch.save(value, path)
    elif path.suffix == ".safetensors":
        bad = {"dtype": draw.choice(["F32", "F8", 3, None]), "shape": draw.choice([[8], [-8], [10**15], "8", [8.5], None]),
               "data_offsets": draw.choice([[0, 32], [0, 10**18], [-4, 28], [32, 0], [0], None])}  # fmt: skip
        header = json.dumps({"features": bad} if draw.random() < 0.8 else [bad]).encode()
        length = draw.choice([len(header)] * 4 + [2**62, 0])
        path.write_bytes(struct.pack("<Q", length) + header + bytes(32))
        what = f"header {bad}, {length}"
    else:
        with h5py.File(path, "w") as file:
            if array.dtype.kind in "fi":
                file["features"] = array
            elif draw.random() < 0.5:
                file.create_dataset("features", (2**33,), "f4", chunks=(2**20,), fillvalue=1)
                what = "a fill value of 32 GiB"
            else:
                file["features"] = h5py.ExternalLink("/etc/hostname", "/")
                what = "an external link"
    return what


def _field(path: Path, draw: Draw) -> str:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    place = draw.randrange(len(lines))
    content = yaml.safe_load(lines[place])
    fields = list(_fields(content))
    holder, key, name = draw.choice(fields)
    value = draw.choice(FIELDS)
    if draw.random() < 0.15 and isinstance(holder, dict):
        holder["zzz"] = holder.pop(key)
        value = "renamed"
    else:
        holder[key] = value
    dump = json.dumps if path.suffix != ".yaml" else yaml.safe_dump
    lines[place] = dump(content)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"{name} = {str(value)[:30]}"


def _fields(content: Any, name: str = "") -> list[tuple[Any, Any, str]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [
        found for key, value in items for found in [(content, key, f"{name}.{key}"), *_fields(value, f"{name}.{key}")]
    ]


def _yaml(path: Path, draw: Draw) -> str:
    text = path.read_text(encoding="utf-8")
    laughs = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12))
    first = text.splitlines()[0]
    ways = {
        "a YAML bomb": laughs + text,
        "nested": "a: " + "[" * 30_000 + "]" * 30_000 + "\n" + text,
        "nested a little": "a: " + "[" * 400 + "]" * 400 + "\n" + text,
        "a tag": "a: !!python/object/apply:os.getpid []\n" + text,
        "tabs": text.replace(" ", "\t"),
        "a list": "[1, 2]\n",
        "a text": "text\n",
        "a line twice": text + first + "\n",
        "two documents": text + "\n---\n" + text,
        "itself": "a: &a\n  b: *a\n" + text,
        "latin-1": text + "# é",
    }
    what = draw.choice(list(ways))
    path.write_bytes(ways[what].encode("latin-1" if what == "latin-1" else "utf-8"))
    return what


# --- running and judging ---


@dataclass
class Answer:
    """How a verb ended: exit code, text, result, seconds and peak memory; the code is None where it ran too long."""

    code: int
    text: str
    result: str
    seconds: float
    peak: int


def ask(folder: Path, arguments: list[str]) -> Answer:
    """Run a verb in a forked process in a folder."""
    out = folder.with_suffix(".out")
    started = time.monotonic()
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.environ["CTBENCH_OUTPUTS"] = "outputs"
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT_SPACE, LIMIT_SPACE))
        with out.open("w", encoding="utf-8", errors="backslashreplace") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = file
            code = 99
            try:
                code = run_verb([*arguments, "--json"])
            except SystemExit as stop:
                code = int(stop.code or 0)
            except BaseException:  # noqa: BLE001  this is what is looked for
                traceback.print_exc()
            with contextlib.suppress(OSError):
                file.flush()
        os._exit(code)
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - started > WAIT_S:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.05)
    seconds = used.ru_utime + used.ru_stime
    text = out.read_text(encoding="utf-8", errors="replace")
    last = text.rstrip().rpartition("\n")[2]
    result = _plain(last) if last.startswith("{") else ""
    code = os.waitstatus_to_exitcode(status)
    return Answer(code, text, result, seconds, used.ru_maxrss * 1024)


_VOLATILE = {"seconds", "run_dir", "study_dir", "warnings", "peak_gib", "openings", "source"}


def _plain(text: str) -> str:
    """Return a verb's JSON without what differs from call to call."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key not in _VOLATILE}
        return [strip(item) for item in value] if isinstance(value, list) else value

    plain = json.dumps(strip(json.loads(text)), sort_keys=True)
    return re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{6}", "", plain)


def judge(good: Answer, said: Answer, arguments: list[str]) -> str:
    """Return what is wrong with an answer, or how it is right."""
    if said.code < 0 or "MemoryError" in said.text:
        return f"WRONG: ended by signal or memory ({said.code}) after {said.seconds:.0f} s"
    if said.seconds > LIMIT_S:
        return f"WRONG: {said.seconds:.1f} s"
    if said.peak > LIMIT_BYTES:
        return f"WRONG: {said.peak / 1e9:.1f} GB"
    if "Traceback" in said.text or said.code not in (0, 1, 2):
        return "WRONG: traceback: " + said.text.strip().splitlines()[-1][:160]
    if said.code:
        return "refused" if "Error: " in said.text or "error" in said.text else "WRONG: exit without a message"
    if said.result == good.result:
        return "same result"
    new = [line for line in said.text.splitlines() if line not in good.text and not line.startswith("{")]
    told = [line for line in new if not re.search(r"AUPRC|AUROC|^\w+ +[\d.–]|outputs/", line)]
    return "warned" if told else "WRONG: silent"


def main(number: int = 500, seed: int = 1) -> int:
    """Give a number of malformed inputs, and print each with its verdict; return 1 if anything was wrong."""
    draw, totals, good = Draw(seed), Counter[str](), dict[str, Answer]()
    keys = [name for name in KEYS if not name.startswith(("paths.", "logging.logger", "training.threads"))]
    with tempfile.TemporaryDirectory() as temporary:
        ground = Path(temporary) / "ground"
        write_ground(ground)
        known = cases()
        for k in range(number):
            case = known[k % len(known)]
            name = " ".join(case.arguments)
            folder = Path(temporary) / "case"
            if name not in good:
                shutil.copytree(ground, folder)
                good[name] = ask(folder, case.arguments)
                shutil.rmtree(folder)
                if good[name].code:
                    raise SystemExit(f"The good case fails: {name}\n{good[name].text[-3000:]}")
            shutil.copytree(ground, folder, copy_function=os.link)  # verbs replace files and never change one in place
            arguments = case.arguments
            if case.file:
                (folder / case.file).unlink()
                shutil.copy(ground / case.file, folder / case.file)
                what = spoil(folder / case.file, draw)
            else:
                key, value = draw.choice(keys), draw.choice(OVERRIDES)
                what, arguments = f"{key}={value[:30]}", [*arguments, f"{key}={value}"]
            said = ask(folder, arguments)
            shutil.rmtree(folder)
            verdict = judge(good[name], said, arguments)
            if verdict == "WRONG: silent":
                verdict = _as_documented(case, what, good[name], said) or verdict
            if not case.file and verdict == "WRONG: silent" and _is_a_setting(key, value):
                verdict = "a setting"
            totals[verdict.split(":")[0] if not verdict.startswith("WRONG") else " ".join(verdict.split()[:2])] += 1
            print(
                f"{k + 1} {case.kind} {case.file}: {what}: {verdict} ({said.seconds:.1f} s, {said.peak / 1e9:.2f} GB)",
                flush=True,
            )
            if verdict.startswith("WRONG"):
                print("    " + "\n    ".join(said.text.strip()[-1500:].splitlines()), flush=True)
            elif "-v" in os.environ.get("MALFORMED", ""):
                told = [
                    line for line in said.text.splitlines() if line not in good[name].text and not line.startswith("{")
                ]
                print("    " + "\n    ".join(line[:200] for line in told[:3]), flush=True)
    print(", ".join(f"{text} {count}" for text, count in totals.most_common()))
    return int(any(text.startswith("WRONG") for text in totals))


def _as_documented(case: Case, what: str, good: Answer, said: Answer) -> str:
    """Return how another result without a message is what the documentation says; empty if it is not."""
    if re.search(r"\b(target_)?[AB]: (''|'nan'|nulls)$", what) or what.endswith("= None"):
        return "unknown, as blanks and nulls are"
    if re.search(r"volumename: '[^']+'$|job\.name = |^\.name = ", what):
        return "another name"
    if re.search(r"(test_primary_\w+|prob_[AB]): '0\.5'$", what):
        return "another number"
    if case.file.endswith(".tsv") and what.endswith(": '1,0'"):
        return "a number with a decimal comma"
    if case.file.endswith((".npy", ".h5", ".safetensors")) and what.startswith("zeros from"):
        return "another vector, in a format without a checksum"
    if json.loads(said.result).get("undefined") != json.loads(good.result).get("undefined"):
        return "undefined, with the reason"
    is_less = what.startswith(("no column", "header ")) or what.endswith("missing")
    return "another table, without a column" if is_less and case.arguments[0] in ("prepare", "score") else ""


def _is_a_setting(key: str, value: str) -> bool:
    """Whether a value is one that the key may have: only text, numbers and switches in range are."""
    default = KEYS[key].default
    if isinstance(default, bool):
        return value in ("true", "null")
    if isinstance(default, (int, float)):
        return value in ("-1", "1e-400", "true", "null")
    return True


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
