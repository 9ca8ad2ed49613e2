"""The fields of the run table: what a query names, a column shows, and runs are ordered and grouped by.

They are the cells of `table.run_row`, every metric on validation and on test, and every config key.
"""

from __future__ import annotations

import functools
import types
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Union, get_args, get_origin

from ctbench_core.config import KEYS, KeyInfo, key_title, words_for
from ctbench_core.declared import averaged_metrics
from ctbench_core.query import Field, Fields, Kind, Row


def _cell(name: str) -> Callable[[Row], Sequence[Any]]:
    """Return the function that reads a cell of a row, empty where it is blank."""

    def read(row: Row) -> Sequence[Any]:
        value = row[name]
        return () if value is None or value == "" else (value,)

    return read


def _field(name: str, title: str, kind: Kind, cell: str = "", *aliases: str, help: str = "", empty: str = "") -> Field:
    return Field(name, title, kind, _cell(cell or name), help, aliases, empty)


def _set_names(row: Row) -> Sequence[str]:
    """Return the names that a query may give a validation set; the file alone is the first, numbered or not, of its sets."""
    number = row.get("validation_number", "")
    return tuple(
        dict.fromkeys((row["validation_name"], *([number] if number.endswith(")") else []), row["validation_set"]))
    )


_CELLS = (
    # Of a row of `named_rows` both: the name as tables show it, and what a run is called alone.
    Field("name", "Run", "text", lambda row: (row["name"], row.get("own_name", row["name"])), aliases=("run",)),
    _field("id", "Run id", "text", "run_id", "run_id"),
    _field("state", "State", "text"),
    _field("study", "Study", "text", help="The study or search that the run belongs to."),
    _field("encoder", "Encoder", "text"),
    # "mlp 1024-512" is also an "mlp".
    Field("head", "Head", "text", lambda row: (row["head"], row["head"].partition(" ")[0]), aliases=("model",)),
    _field("inputs", "Inputs", "text", "inputs", "model.inputs"),
    _field(
        *("budget", "Budget", "number", "budget", "data.budget"),
        help="Label budget, in the run's unit; empty: all.",
        empty="all",
    ),
    _field("volumes", "Volumes", "number", "volumes", "n", help="Training volumes."),
    _field("seed", "Seed", "number", "seed", "utils.seed"),
    _field("fold", "Fold", "number", "fold", "data.kfold.fold"),
    _field("best epoch", "Best epoch", "number", "best_epoch", "best"),
    _field("epochs", "Epochs", "number", "epoch", "epoch"),
    _field("seconds", "Time", "number", "seconds", "time", help="Seconds of the run."),
    _field("convergence", "Convergence", "text"),
    Field(
        "validation set",
        "Validation set",
        "text",
        lambda row: _set_names(row) if row["validation_name"] else (),
        "Its file, and what chose it where several sets share the file; its number there, or its identity, matches too.",
        ("val set", "val. set"),
    ),
    Field("test set", "Test sets", "text", lambda row: list(row["test_metrics"]), "Test sets that were evaluated."),
    Field("stale", "Stale", "flag", lambda row: (bool(row["stale"]),), "A test result is of an earlier epoch."),
    Field("leak", "Shared patients", "flag", lambda row: (any(row["leaks"].values()),), "A test set shares patients."),
    Field(
        "star", "★", "flag", lambda row: (bool(row["pinned"]),), "Starred runs.", ("starred", "pinned"), label="Starred"
    ),
    Field("tag", "Tags", "text", lambda row: row["tags"], aliases=("tags",)),
    _field("notes", "Notes", "text", "notes", "note"),
    _field("error", "Error", "text"),
    _field("created", "Created", "time", "created", "date", "when"),
    _field("updated", "Updated", "time"),
)


def _metric_fields() -> list[Field]:
    fields = []
    for metric in averaged_metrics():
        name = metric.name.replace("_", " ")
        aliases = (
            f"validation {name}",
            f"val. {name}",
            name,
            *((metric.macro,) if metric.macro != metric.name else ()),
        )
        help = f"Macro {metric.title} at the best epoch, on validation."
        fields.append(
            Field(f"val {name}", f"Val. {metric.short}", "number", _cell(f"val_{metric.name}"), help, aliases)
        )
    for metric in averaged_metrics():
        name = metric.name.replace("_", " ")
        help = f"Macro {metric.title} on test; of several test sets, any may match a query, and the first is shown."
        aliases = ("test",) if metric.name == "auprc" else ()
        fields.append(
            Field(f"test {name}", f"Test {metric.short}", "number", _test_reader(metric.macro), help, aliases)
        )
    return fields


def _test_reader(macro: str) -> Callable[[Row], Sequence[Any]]:
    return lambda row: [values[macro] for values in row["test_metrics"].values() if macro in values]


def _key_fields(taken: Sequence[Field]) -> list[Field]:
    """Return a field for each other config key; its last part, and a word of names, stand for it where no other key has it."""
    last = {name: name.rpartition(".")[2] for name in KEYS}
    words = {name: dict.fromkeys((last[name], *words_for(name))) for name in KEYS}
    lasts, counts = Counter(last.values()), Counter(word for own in words.values() for word in own)
    infos = [info for info in KEYS.values() if not any(info.name in field.aliases for field in taken)]
    fields = []
    for info in infos:
        name = info.name
        aliases = tuple(word for word in words[name] if counts[word] == 1 or (word == last[name] and lasts[word] == 1))
        fields.append(Field(name, name, _kind(info), _key_reader(info), info.help, aliases, label=key_title(name)))
    return fields


def _kind(info: KeyInfo) -> Kind:
    annotation = info.annotation
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    types_ = {part for part in parts if part is not type(None)}
    if types_ == {bool}:
        return "flag"
    return "number" if types_ and types_ <= {int, float} else "text"


def _key_reader(info: KeyInfo) -> Callable[[Row], Sequence[Any]]:
    name, default = info.name, info.default

    def read(row: Row) -> Sequence[Any]:
        value = row["changed"].get(name, default)
        if value is None or value in ("", {}):
            return ()
        return value if isinstance(value, list) else (value,)

    return read


@functools.lru_cache(maxsize=1)
def run_fields() -> Fields:
    """Return all fields of the run table by name."""
    own = [*_CELLS, *_metric_fields()]
    return Fields([*own, *_key_fields(own)])


def text_of(row: Row) -> str:
    """Return the texts of a row in which a query's words are searched, in small letters."""
    parts = (row["name"], row["run_id"], row["encoder"], row["head"], row["inputs"], row["study"], row["notes"])
    return " ".join((*parts, *row["tags"])).casefold()
