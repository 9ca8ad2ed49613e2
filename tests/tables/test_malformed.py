"""The same malformed table gets the same answer everywhere: from manifests, score, agree, prepare and uploads."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctbench_core.config import Config
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.evaluate import predictions
from ctbench_core.manifest import PrepareOptions, compare_labels, prepare, read_configured
from ctbench_core.tables import limits
from ctbench_ui.data import data_form

HEADER = "volumename,visual_feature_path,prob_A,A,note\n"
ROWS = "train_1_a_1,x/1.npz,0.5,1,first\ntrain_2_a_1,x/2.npz,0.25,0,second é\ntrain_3_a_1,x/3.npz,1,,\n"
PLAIN = HEADER + ROWS
ANSWER = (["train_1_a_1", "train_2_a_1", "train_3_a_1"], [1.0, 0.0, "unknown"])


def parquet(changes: dict[str, Any] | None = None, **options: Any) -> bytes:
    columns: dict[str, Any] = {
        "volumename": ANSWER[0],
        "visual_feature_path": ["x/1.npz", "x/2.npz", "x/3.npz"],
        "prob_A": [0.5, 0.25, 1.0],
        "A": [1.0, 0.0, None],
        "note": ["first", None, ""],
    }
    stream = io.BytesIO()
    pq.write_table(pa.table(columns | (changes or {})), stream, **options)
    return stream.getvalue()


def gzip_bomb() -> bytes:
    """Return 5 GB of zeros as 5 MB of gzip, in members of 16 MB."""
    return gzip.compress(PLAIN.encode()) + gzip.compress(b"0" * 2**24) * 300


def parquet_bomb() -> bytes:
    """Return a million rows that repeat one text of 100 kB: 100 GB in a small file."""
    rows = 1_000_000
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 100_000]))
    stream = io.BytesIO()
    names = pa.array(map(str, range(rows)))
    pq.write_table(pa.table({"volumename": names, "note": text}), stream, store_schema=False, compression="zstd")
    return stream.getvalue()


GOOD: dict[str, tuple[str, bytes]] = {
    name: ("t.csv", content if isinstance(content, bytes) else content.encode("utf-8"))
    for name, content in {
        "plain": PLAIN,
        "bom": "\ufeff" + PLAIN,
        "utf-16": PLAIN.encode("utf-16"),
        "utf-16 big endian": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        "crlf": PLAIN.replace("\n", "\r\n"),
        "cr": PLAIN.replace("\n", "\r"),
        "semicolons": PLAIN.replace(",", ";"),
        "semicolons and decimal commas": PLAIN.replace(",", ";").replace("0.", "0,"),
        "tabs": PLAIN.replace(",", "\t"),
        "tabs and decimal commas": PLAIN.replace(",", "\t").replace("0.", "0,"),
        "quoted": "\n".join(",".join(f'"{v}"' for v in line.split(",")) for line in PLAIN.splitlines()),
        "quoted separators and line ends": PLAIN.replace("first", '"one, ""two""\nthree"'),
        "a quote within a value": PLAIN.replace("first", '5" nodule'),
        "blank lines": "\n\n" + HEADER + "\n , ,,,\n" + ROWS + ",,,,\n\n",
        "blanks around": PLAIN.replace(",", " , "),
        "trailing separators everywhere": PLAIN.replace("\n", ",\n"),
        "no last line end": PLAIN.rstrip("\n"),
        "nii names": PLAIN.replace("_a_1,", "_a_1.nii.gz,"),
        "other spelling": PLAIN.replace("volumename", "Volume Name"),
        "true and false": PLAIN.replace(",1,first", ",True,first").replace(",0,sec", ",FALSE,sec"),
        "texts of missing values": PLAIN.replace("1,,\n", "1,NaN,None\n"),
        "gzip": gzip.compress(PLAIN.encode("utf-8")),
        "gzip in two members": gzip.compress(HEADER.encode()) + gzip.compress(ROWS.encode()),
        "utf-16 in gzip": gzip.compress(PLAIN.encode("utf-16")),
        "a line of 10 MB": PLAIN.replace("first", "x" * 10_000_000),
        "parquet by content": parquet(),
    }.items()
} | {
    "parquet": ("t.parquet", parquet()),
    "parquet of whole numbers": ("t.parquet", parquet({"A": pa.array([1, 0, None], pa.int64())})),
    "parquet of booleans": ("t.parquet", parquet({"A": pa.array([True, False, None])})),
    "parquet of dictionaries": ("t.parquet", parquet({"note": pa.array(["a", "b", None]).dictionary_encode()})),
}

# name: file name, content, what the message says
BAD: dict[str, tuple[str, bytes, str]] = {
    name: ("t.csv", content if isinstance(content, bytes) else content.encode("utf-8"), message)
    for name, (content, message) in {
        "empty": ("", r"is empty"),
        "line ends only": ("\n\r\n\n", r"is empty"),
        "separators only": (",,,\n,,,\n", r"is empty"),
        "header only": (HEADER, r"has no rows"),
        "trailing separators in the rows": (
            HEADER + ROWS.replace("\n", ",\n"),
            r"line 1 names 5 columns, but line 2 has 6 values.*line 2, 3, 4 \(3 rows\)",
        ),
        "short row": (PLAIN.replace(",0,second é", ""), r"line 3 has 3 values"),
        "long row": (PLAIN.replace("first", "one,two"), r"line 2 has 6 values"),
        "short row after quoted lines": (
            PLAIN.replace("first", '"1\n2"').replace(",0,second é", ""),
            r"line 4 has 3 values",
        ),
        "equal headers": (PLAIN.replace("note", "A"), r"duplicate column 'A'"),
        "headers equal once stripped": (PLAIN.replace("note", " A "), r"duplicate column 'A'"),
        "two columns without a name": ("volumename,,\nx,1,2\n", r"duplicate column ''"),
        "nul byte": (PLAIN.replace("first", "fir\0st"), r"NUL byte on line 2"),
        "utf-16 without bom": (PLAIN.encode("utf-16-le"), r"NUL byte on line 1"),
        "utf-32": (PLAIN.encode("utf-32"), r"NUL byte"),
        "cp1252": (PLAIN.encode("cp1252"), r"not UTF-8 text: byte \d+, line 3.*Save it as CSV in UTF-8"),
        "cut utf-8": (PLAIN.encode("utf-8")[:117], r"cannot be parsed|UTF-8|line 3"),
        "cut utf-16": (PLAIN.encode("utf-16")[:-1], r"not UTF-16 text"),
        "open quote": (PLAIN.replace("second", '"second'), r"row that begins on line 3.*Close its quotes"),
        "text after a closing quote": (PLAIN.replace("first", '"p"q'), r"begins on line 2.*double a quote"),
        "cut gzip": (gzip.compress(PLAIN.encode())[:-12], r"cut short"),
        "damaged gzip": (b"\x1f\x8b\x08\x00" + b"damaged" * 30, r"damaged gzip"),
        "gzip bomb": (gzip_bomb(), r"would unpack from .*CTBENCH_MAX_MIB="),
        "excel": (b"PK\x03\x04" + bytes(200), r"Excel workbook: .*save the sheet as CSV"),
        "ten million columns": ("a" + "," * 10_000_000 + "\n", r"line 1, names 10,000,001 columns"),
        "ten million values": (PLAIN + "x" + "," * 10_000_000 + "\n", r"line 5 has 10,000,001 values"),
        "binary": (bytes(range(256)) * 20, r"NUL byte on line 1"),
        "duplicate volume": (PLAIN + ROWS[:32] + "\n", r"duplicate volumename train_1_a_1 \(1 row\), on line 5\. "),
        "duplicate volume once cleaned": (
            PLAIN + "train_1_a_1.nii.gz ,x,0,0,\n",
            r"duplicate volumename train_1_a_1 \(1 row\), on line 5\. ",
        ),
        "blank volume": (PLAIN.replace("train_2_a_1", "  "), r"volumename is blank on line 3 \(1 row\)"),
        "text as a label": (PLAIN.replace(",0,sec", ",O,sec"), r"column 'A' has 'O' on line 3 \(1 row\).*data.labels"),
        "uncertain label": (
            PLAIN.replace(",0,sec", ",-1,sec"),
            r"column 'A' has '-1' on line 3.*data.labels.uncertain",
        ),
        "nested parquet by content": (parquet({"note": [["a"], [], None]}), r"columns of lists.*: note"),
        "parquet bomb by content": (
            parquet_bomb(),
            r"unpacks to .* above the limit of 268,435,456. Set CTBENCH_MAX_MIB=",
        ),
    }.items()
} | {
    "nested parquet": ("t.parquet", parquet({"note": [{"a": 1}, None, None]}), r"columns of lists, structs.*: note"),
    "parquet of bytes": ("t.parquet", parquet({"note": [b"a", b"\0", None]}), r"columns of lists, structs or bytes"),
    "cut parquet": ("t.parquet", parquet()[:-300], r"not a readable Parquet file"),
    "damaged parquet": ("t.parquet", b"PAR1" + bytes(500), r"not a readable Parquet file"),
    "csv called parquet": ("t.parquet", PLAIN.encode(), r"not a readable Parquet file"),
    "parquet without rows": ("t.parquet", parquet({}).__class__(b""), r"not a readable Parquet file"),
    "parquet headers equal once stripped": ("t.parquet", parquet({" A": ["x", "", ""]}), r"duplicate column 'A'"),
    "parquet short of a volume": ("t.parquet", parquet({"volumename": ["a", None, "c"]}), r"blank on line 3"),
}


def config() -> Config:
    config = Config()
    config.data.columns.labels = ["A"]
    return config


def _manifest(path: Path) -> Any:
    return read_configured(path, config())


def _score(path: Path) -> Any:
    return predictions.read_predictions(path, predictions.ScoreOptions(), config())[0]


def _agree(path: Path) -> Any:
    first = _manifest(path)
    assert compare_labels(first, first).n["volumes"] == len(first)
    return first


def _prepare(path: Path) -> Any:
    return prepare(PrepareOptions(labels_csv=str(path)), config().data.columns).manifest


def _upload(path: Path) -> Any:
    """Upload a table; one that only needs a mapping is kept, and read as it is afterwards."""
    root = path.parent / "outputs"
    try:
        folder = data_form.store_upload(root, [(path.name, path.read_bytes())], config())
    except ManifestError as error:
        assert not any((root / data_form.UPLOADS).iterdir()), "a refused upload was kept"
        raise ManifestError(re.sub(_stored(root), f"{path.parent}/", str(error))) from error
    try:
        return _manifest(folder / path.name)
    except ManifestError as error:
        raise ManifestError(re.sub(_stored(root), f"{path.parent}/", str(error))) from error


def _stored(root: Path) -> str:
    """Return the pattern of the folders in which uploads are stored."""
    return re.escape(str(root / data_form.UPLOADS)) + r"/[^/]+/"


READERS: dict[str, Callable[[Path], Any]] = {
    "manifest": _manifest,
    "score": _score,
    "agree": _agree,
    "prepare": _prepare,
    "upload": _upload,
}


def answer(read: Callable[[Path], Any], path: Path) -> Any:
    """Return volumes and labels, or the message."""
    try:
        manifest = read(path)
    except ManifestError as error:
        return str(error)
    targets = manifest.targets[:, 0]
    return manifest.volumes.tolist(), ["unknown" if np.isnan(value) else float(value) for value in targets]


@pytest.mark.parametrize("kind", GOOD)
def test_every_reader_reads_what_was_meant(tmp_path: Path, kind: str) -> None:
    name, content = GOOD[kind]
    (tmp_path / name).write_bytes(content)
    assert {reader: answer(read, tmp_path / name) for reader, read in READERS.items()} == dict.fromkeys(READERS, ANSWER)


@pytest.mark.parametrize("kind", BAD)
def test_every_reader_says_the_same(tmp_path: Path, kind: str) -> None:
    name, content, message = BAD[kind]
    (tmp_path / name).write_bytes(content)
    answers = {reader: answer(read, tmp_path / name) for reader, read in READERS.items()}
    assert isinstance(answers["manifest"], str), f"{kind} was read"
    with pytest.raises(ManifestError, match=message):
        raise ManifestError(answers["manifest"])
    assert name in answers["manifest"]
    ways_out = (", or join them with collapse=any or collapse=majority", "")  # prepare alone can join rows
    assert {reader: text.replace(*ways_out) for reader, text in answers.items()} == dict.fromkeys(
        READERS, answers["manifest"]
    )


def test_score_and_prepare_say_it_on_the_command_line(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(PLAIN.replace(",0,second é", ""), encoding="utf-8")
    verbs = (["score", path], ["prepare", f"labels_csv={path}"], ["agree", f"first_csv={path}", f"second_csv={path}"])
    for words in verbs:
        ended = cli(*map(str, words))
        assert ended.code == 2 and "t.csv" in ended.err and "line 3 has 3 values" in ended.err, words


def test_the_setting_raises_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_SMALL", 2**16)
    (tmp_path / "t.csv").write_bytes(gzip.compress((HEADER + ROWS + "x" * 2_000_000 + ",,,,\n").encode()))
    with pytest.raises(ManifestError, match=r"over 200 times.*CTBENCH_MAX_MIB=1 or more"):
        _manifest(tmp_path / "t.csv")
    monkeypatch.setenv("CTBENCH_MAX_MIB", "2")
    assert len(_manifest(tmp_path / "t.csv")) == 4
    monkeypatch.setenv("CTBENCH_MAX_MIB", "1")
    with pytest.raises(ManifestError, match=r"above the limit of 1,048,576\. Set CTBENCH_MAX_MIB="):
        _manifest(tmp_path / "t.csv")
    monkeypatch.setenv("CTBENCH_MAX_MIB", "much")
    with pytest.raises(ConfigError, match="expected a whole number of MiB"):
        _manifest(tmp_path / "t.csv")


@pytest.mark.parametrize("kind", ["gzip bomb", "parquet bomb by content", "ten million columns", "ten million values"])
def test_memory_stays_bounded(tmp_path: Path, kind: str) -> None:
    name, content, _ = BAD[kind]
    path = tmp_path / name
    path.write_bytes(content)
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import pyarrow.csv, pyarrow.parquet\n"
        "from ctbench_core.errors import ManifestError\n"
        "from ctbench_core.tables import read_table\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    read_table(Path(sys.argv[1]))\n"
        "except ManifestError:\n    pass\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 700, "MiB"
