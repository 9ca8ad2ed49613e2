"""The tab that makes manifests from tables or a public data set: a preview with the rows that do not join, then the files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import KEYS, LabelsConfig
from ctbench_core.declared import DATASETS
from ctbench_core.errors import CtbenchError, InputError
from ctbench_core.features import check_allowed
from ctbench_core.formatting import format_cohort, plural
from ctbench_core.manifest import (
    UNMATCHED_REASONS,
    PreparedDataset,
    PreparedPart,
    PrepareOptions,
    PrepareResult,
    prepare,
    prepare_dataset,
    write_dataset,
    write_manifest,
)
from ctbench_ui import form
from ctbench_ui.data import fixes
from ctbench_ui.data.data_form import use_manifests
from ctbench_ui.shared import as_text, exports, folders, path_field, show_error, show_hint, show_warnings, text_field

_PREFIX, _PREVIEWED, _WRITTEN = "prepare.", "prepare.asked", "prepare.written"
_ROWS, _NAMES = 20, 200
_COLLAPSE = ["automatic", "any", "majority"]
_COLLAPSE_HELP = (
    "Rows of one volume, such as those of several readers, and columns of one finding at several locations become one: "
    "positive if any is, or if the majority is. Automatic: as the data set says, else they are an error."
)
_TABLES = {
    "labels_csv": ("Labels", "Table of findings as 0, 1 or blank, one row per volume or exam."),
    "split_csv": (
        "Split",
        "Table of the volumes to keep, or a folder of their feature files. Empty: all labelled volumes.",
    ),
    "metadata_csv": ("Metadata", "Table of further columns, by volume."),
    "reports_csv": ("Reports", "Table of report texts, by volume or exam."),
    "mapping_csv": ("Accession numbers", "Table of accession numbers and volumes, for labels by accession number."),
}
# name: label, help, placeholder
_PATHS = {
    "visual_prefix": (
        "Visual feature folder",
        "Folder below the feature root. Empty: the path column of the tables, else the folder image.",
        "from the tables",
    ),
    "visual_suffix": ("Visual file ending", "File ending, such as .npz.", ".npz"),
    "text_prefix": (
        "Text feature folder",
        "Folder below the feature root. Empty: the path column of the tables, else no text features.",
        "from the tables",
    ),
    "text_suffix": ("Text file ending", "File ending, such as .npz.", ".npz"),
}
_OTHERS = {
    "dataset": "Data set",
    "root": "Root folder",
    "split": "Split value",
    "output_file": "Output folder",
    "collapse": "Join repeated rows",
}
_LABELS = _OTHERS | {name: texts[0] for name, texts in (_TABLES | _PATHS).items()}
_OPTION = re.compile(rf"(?<![\w.])({'|'.join(_LABELS)})=(\S*[^\s,;.])?")


def draw() -> None:
    """Draw the tab."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        _draw_fields()
        start = st.button("Preview", type="primary", icon=":material/join_inner:", key="preview")
    with right:
        options = _read_options()
        if start:
            st.session_state[_PREVIEWED] = vars(options)
            st.session_state.pop(_WRITTEN, None)
        if st.session_state.get(_PREVIEWED) == vars(options):
            _draw_preview(options)
        else:
            _draw_waiting()


def _draw_fields() -> None:
    near = _list_tables()
    st.session_state.setdefault(_PREFIX + "dataset", None)
    dataset = st.selectbox(
        "Data set",
        [None, *DATASETS],
        format_func=lambda name: DATASETS[name].title if name else "My tables",
        key=_PREFIX + "dataset",
        help="A public data set, whose files are found by their names, or tables that you choose.",
        persist_state="session",
    )
    if dataset:
        help = "Folder with the data set's files, at any depth, or its only file."
        text_field(_PREFIX + "root", "Root folder", help, "/data/ct-rate")
    else:
        for name, (label, help) in list(_TABLES.items())[:4]:
            path_field(_PREFIX + name, label, near, help)
    left, right = st.columns(2)
    with left:
        text_field(_PREFIX + "split", "Split value", "Keep rows with this value in column `split`. Empty: all.", "all")
    if not dataset:
        with right:
            text_field(_PREFIX + "name", "File name", "The manifest, .csv or .parquet.", "train.csv", "train.csv")
    _draw_choice(st, "collapse", _OTHERS["collapse"], _COLLAPSE, _COLLAPSE_HELP)
    text_field(_PREFIX + "folder", "Output folder", "Folder of the manifests.", "data/manifests", "data/manifests")
    with st.expander("Feature paths and accession numbers", icon=":material/tune:"):
        first, second = st.columns(2)
        for (name, (label, help, placeholder)), column in zip(_PATHS.items(), (first, second, first, second)):
            with column:
                text_field(_PREFIX + name, label, help, placeholder)
        for column, name, label in (
            (first, "visual_level", "Visual files by"),
            (second, "text_level", "Text files by"),
        ):
            _draw_choice(column, name, label, ["volume", "exam"])
        if not dataset:
            path_field(_PREFIX + "mapping_csv", _TABLES["mapping_csv"][0], near, _TABLES["mapping_csv"][1])


def _draw_choice(place: Any, name: str, label: str, options: list[str], help: str | None = None) -> None:
    """Draw the field of an option with few values, of which the first is the usual one."""
    st.session_state.setdefault(_PREFIX + name, options[0])
    place.segmented_control(label, options, key=_PREFIX + name, required=True, help=help, persist_state="session")


def _list_tables() -> list[str]:
    """List the tables in the folders of those chosen so far and of the manifests."""
    paths = [str(st.session_state.get(_PREFIX + name) or "") for name in _TABLES]
    places = [Path(path).parent for path in paths if path] + [Path(st.session_state.get("paths.manifest_dir") or ".")]
    return list(dict.fromkeys(str(place / name) for place in places for name in folders.list_manifests(place)))


def _read_options() -> PrepareOptions:
    """Read the fields; blank ones keep their defaults."""
    options = PrepareOptions()
    dataset = st.session_state.get(_PREFIX + "dataset")
    sources = ("dataset", "root") if dataset else tuple(_TABLES)
    for name in (*sources, *_PATHS, "split", "visual_level", "text_level"):
        if value := str(st.session_state.get(_PREFIX + name) or "").strip():
            setattr(options, name, value)
    if (how := st.session_state.get(_PREFIX + "collapse")) in _COLLAPSE[1:]:
        options.collapse = how
    name = "" if dataset else st.session_state[_PREFIX + "name"]
    options.output_file = str(Path(st.session_state[_PREFIX + "folder"] or ".") / (name or ""))
    return options


def join_tables(options: PrepareOptions) -> PrepareResult:
    """Join the tables of the form.

    Raises:
        InputError: a path is not allowed, the file name is not a manifest's, or the tables do not join.
    """
    for path in [*options.inputs(), Path(options.output_file or "")]:
        check_allowed(path)
    if Path(options.output_file or "").suffix not in folders.MANIFEST_SUFFIXES:
        raise InputError(f"{options.output_file} is not a manifest: end *File name* in .csv or .parquet.")
    return prepare(options, form.config().data.columns, form.config().data.labels)


def join_dataset(options: PrepareOptions) -> PreparedDataset:
    """Join the files of the form's data set, by its label convention and the form's changes to it.

    Raises:
        InputError: a path is not allowed, or the files are not as declared.
    """
    for path in [*options.inputs(), Path(options.output_file or "")]:
        check_allowed(path)
    data, usual = form.config().data, vars(LabelsConfig())
    changed = {name: value for name, value in vars(data.labels).items() if value != usual[name]}
    return prepare_dataset(options, data.columns, changed)


def _draw_waiting() -> None:
    show_hint(
        "Manifests from tables",
        "Joins labels, a split, metadata and reports by volume or exam name, or the files of a public data set. "
        "**Preview** shows which rows join; nothing is written before **Write manifest**.",
    )


def _draw_preview(options: PrepareOptions) -> None:
    fixes.draw_applied()
    try:
        if options.dataset is not None:
            _draw_dataset(join_dataset(options), Path(options.output_file or ""))
        else:
            _draw_tables(join_tables(options))
    except CtbenchError as error:
        show_error("These tables do not join", _OPTION.sub(_name_option, str(error)))
        fixes.draw_buttons(error.fixes)


def _name_option(match: re.Match[str]) -> str:
    """Return the field of an option, which a message of the core names as on the command line."""
    return f"“{_LABELS[match[1]]}”" + (f" = {match[2]}" if match[2] else "")


def _draw_tables(result: PrepareResult) -> None:
    manifest = result.manifest
    st.success(
        f"{format_cohort(manifest.counts())} · {plural(len(manifest.labels), 'finding')}",
        icon=":material/join_inner:",
    )
    show_warnings(result.warnings)
    _draw_unmatched({UNMATCHED_REASONS[reason]: names for reason, names in result.unmatched.items()})
    _draw_rows(result)
    _draw_buttons(manifest.path, lambda: write_manifest(result))


def _draw_rows(part: PrepareResult | PreparedPart) -> None:
    st.markdown(f"**First rows of {as_text(part.manifest.name)}**")
    st.dataframe(part.manifest.frame.head(_ROWS), hide_index=True, height=260, alt="First rows of the manifest")


def _draw_dataset(prepared: PreparedDataset, folder: Path) -> None:
    dataset = prepared.dataset
    for part in prepared.parts:
        size = f"{format_cohort(part.manifest.counts())} · {plural(len(part.manifest.labels), 'finding')}"
        st.success(f"{part.manifest.name}: {size}", icon=":material/join_inner:")
    convention = ", ".join(f"{name}={value}" for name, value in prepared.convention.items())
    lines = [f"{dataset.terms} {dataset.note}", f"Label convention: {convention}", *prepared.joined]
    st.caption("  \n".join(as_text(line) for line in lines + prepared.notes))
    show_warnings(prepared.warnings)
    _draw_unmatched(prepared.unmatched)
    shares = {
        f"{part.manifest.name}{word}": values
        for part in prepared.parts
        for word, values in ((" as written", part.before), ("", part.manifest.prevalence()))
        if values
    }
    st.markdown("**Prevalence**")
    st.dataframe(exports.styled(pd.DataFrame(shares)), height=260, alt="Prevalence by manifest")
    _draw_rows(prepared.parts[0])
    _draw_buttons(folder / prepared.parts[0].manifest.name, lambda: write_dataset(prepared))


def _draw_unmatched(unmatched: Mapping[str, list[str]]) -> None:
    """Draw the names that did not join, by how a sentence about their number reads on."""
    if not unmatched:
        st.caption("All rows join.")
        return
    rows = [{"names": len(names), "what": reason} for reason, names in unmatched.items()]
    config: dict[str, Any] = {
        "names": st.column_config.NumberColumn("Names", format="localized"),
        "what": "Reason",
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, alt="Names that do not join")
    with st.expander("Names that do not join"):
        for reason, names in unmatched.items():
            more = f"\n… and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
            st.caption(as_text(reason))
            st.code("\n".join(names[:_NAMES]) + more, language=None, height=120 if len(names) > 4 else "content")


def _draw_buttons(path: Path, write: Callable[[], None]) -> None:
    """Draw the button that writes the manifest and, after it, the one that chooses its folder."""
    with st.container(horizontal=True, vertical_alignment="center"):
        exists = path.is_file()
        written = st.session_state.get(_WRITTEN) == str(path)
        label = "Replace the file" if exists and not written else "Write manifest"
        if st.button(label, icon=":material/save:", key="write-manifest", disabled=written):
            write()
            st.session_state[_WRITTEN] = str(path)
            st.rerun()
        if exists and not written:
            st.caption(f"{as_text(path)} already exists.")
        if written:
            st.caption(f":material/check_circle: {as_text(path)}")
            st.button("Use this folder", type="primary", key="use-manifest", on_click=_use, args=(path.parent,))


def _use(folder: Path) -> None:
    """Choose the written manifests, whose volumes and findings have the usual columns, whatever the tables called them."""
    st.session_state["data.tab"] = "Data set"
    form.set_fields({key: KEYS[key].default for key in ("data.columns.volume", "data.labels.list_column")})
    use_manifests(folder)
