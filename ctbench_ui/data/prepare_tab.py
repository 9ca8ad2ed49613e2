"""The tab that makes a manifest of tables: what to join, a preview with what does not join, then the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.errors import InputError
from ctbench_core.features import check_allowed
from ctbench_core.formatting import format_cohort, plural
from ctbench_core.manifest import REASONS, Prepared, PrepareOptions, prepare, write_manifest
from ctbench_ui import form
from ctbench_ui.shared import feedback, folders

_PREFIX, _ASKED, _WRITTEN = "prepare.", "prepare.asked", "prepare.written"
_ROWS, _NAMES = 20, 200
_TABLES = {
    "labels_csv": ("Labels", "Findings as 0, 1 or blank, a row a volume or exam."),
    "split_csv": (
        "Split",
        "Which volumes the manifest is to have; a folder means its feature files. Empty: all labelled.",
    ),
    "metadata_csv": ("Metadata", "More columns, by volume."),
    "reports_csv": ("Reports", "Report texts, by volume or exam."),
    "mapping_csv": ("Accession numbers to volumes", "Needed only when the labels go by accession number."),
}
_PATHS = {
    "visual_prefix": ("Image feature folder", "Below the feature root. Empty: the tables' own column, else image."),
    "visual_suffix": ("Image file ending", "As .npz."),
    "text_prefix": ("Text feature folder", "Below the feature root. Empty: the tables' own column, else no text."),
    "text_suffix": ("Text file ending", "As .npz."),
}


def draw() -> None:
    """Draw the tab."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        _fields()
        asked = st.button("Preview", type="primary", icon=":material/join_inner:", key="preview")
    with right:
        options = _options()
        if asked:
            st.session_state[_ASKED] = vars(options)
            st.session_state.pop(_WRITTEN, None)
        if st.session_state.get(_ASKED) == vars(options):
            _preview(options)
        else:
            _waiting()


def _fields() -> None:
    for name, (label, help) in list(_TABLES.items())[:4]:
        _table(name, label, help)
    left, right = st.columns(2)
    with left:
        _text("split", "Rows of the split", "Keep the rows whose column `split` says so. Empty: all.", "all")
    with right:
        _text("name", "File name", "The manifest to write, .csv or .parquet.", "train.csv", "train.csv")
    _text("folder", "Folder to write to", "Where the manifest goes.", "data/manifests", "data/manifests")
    with st.expander("Feature paths and accession numbers", icon=":material/tune:"):
        first, second = st.columns(2)
        for (name, (label, help)), column in zip(_PATHS.items(), (first, second, first, second)):
            with column:
                _text(name, label, help, "from the tables" if name.endswith("prefix") else ".npz")
        with first:
            _level("visual_level", "Image files by")
        with second:
            _level("text_level", "Text files by")
        _table("mapping_csv", *_TABLES["mapping_csv"])


def _table(name: str, label: str, help: str) -> None:
    """Draw a field for a table: typed, or one of those near the tables given so far."""
    key = _PREFIX + name
    present = st.session_state.setdefault(key, None)
    near = _near()
    known = near if present is None or present in near else [present, *near]
    more: dict[str, Any] = {"accept_new_options": True, "persist_state": "session"}
    st.selectbox(label, known, key=key, help=help, placeholder="Type a path or choose", **more)


def _near() -> list[str]:
    """List the tables in the folders of those given so far and of the manifests."""
    given = [str(st.session_state.get(_PREFIX + name) or "") for name in _TABLES]
    places = [Path(path).parent for path in given if path] + [Path(st.session_state.get("paths.manifest_dir") or ".")]
    return list(dict.fromkeys(str(place / name) for place in places for name in folders.manifests(place)))


def _text(name: str, label: str, help: str, placeholder: str, default: str = "") -> None:
    st.session_state.setdefault(_PREFIX + name, default)
    st.text_input(label, key=_PREFIX + name, help=help, placeholder=placeholder, persist_state="session")


def _level(name: str, label: str) -> None:
    st.session_state.setdefault(_PREFIX + name, "volume")
    st.segmented_control(label, ["volume", "exam"], key=_PREFIX + name, required=True, persist_state="session")


def _options() -> PrepareOptions:
    """Read the fields; blank ones keep their defaults."""
    options = PrepareOptions()
    for name in (*_TABLES, *_PATHS, "split", "visual_level", "text_level"):
        given = st.session_state.get(_PREFIX + name)
        if given and str(given).strip():
            setattr(options, name, str(given).strip())
    options.output_file = str(
        Path(st.session_state[_PREFIX + "folder"] or ".") / (st.session_state[_PREFIX + "name"] or "")
    )
    return options


def prepared(options: PrepareOptions) -> Prepared:
    """Join the tables of the form.

    Raises:
        InputError: a path is not allowed, the file name is none, or the tables do not join.
    """
    for path in [*options.inputs(), Path(options.output_file or "")]:
        check_allowed(path)
    if Path(options.output_file or "").suffix not in folders.MANIFEST_SUFFIXES:
        raise InputError(f"{options.output_file} is no file name of a manifest: end it in .csv or .parquet.")
    return prepare(options, form.config().data.columns)


def _waiting() -> None:
    with st.container(border=True):
        st.subheader("One manifest from several tables", anchor=False)
        st.markdown(
            "Labels, a split, metadata and reports are joined by volume or exam name. **Preview** shows what joins "
            "and what does not; nothing is written before you say so."
        )


def _preview(options: PrepareOptions) -> None:
    with feedback.guarded("These tables do not join"):
        found = prepared(options)
        manifest = found.manifest
        st.success(
            f"{format_cohort(manifest.counts())} · {plural(len(manifest.labels), 'finding')}",
            icon=":material/join_inner:",
        )
        feedback.caution("Good to know", found.warnings)
        _unmatched(found)
        st.markdown("**First rows**")
        st.dataframe(manifest.frame.head(_ROWS), hide_index=True, height=260, alt="First rows of the manifest")
        _writing(manifest.path, lambda: write_manifest(found))


def _unmatched(found: Prepared) -> None:
    if not found.unmatched:
        st.caption("Everything joined.")
        return
    rows = [{"names": len(names), "what": REASONS[reason]} for reason, names in found.unmatched.items()]
    number: dict[str, Any] = {
        "names": st.column_config.NumberColumn("Names", format="localized"),
        "what": "What did not join",
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=number, alt="What did not join")
    with st.expander("Names that did not join"):
        for reason, names in found.unmatched.items():
            more = f"\n… and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
            st.caption(REASONS[reason])
            st.code("\n".join(names[:_NAMES]) + more, language=None, height=120 if len(names) > 4 else "content")


def _writing(path: Path, write: Callable[[], None]) -> None:
    """Draw the button that writes the manifest and, once it is written, the one that chooses it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        exists = path.is_file()
        written = st.session_state.get(_WRITTEN) == str(path)
        label = "Replace the file" if exists and not written else "Write manifest"
        if st.button(label, icon=":material/save:", key="write-manifest", disabled=written):
            try:
                write()
            except OSError as error:
                raise InputError(f"{path} cannot be written: {error}. Choose another folder.") from error
            st.session_state[_WRITTEN] = str(path)
            st.rerun()
        if exists and not written:
            st.caption(f"{path} is there already.")
        if written:
            st.caption(f":material/check_circle: {path}")
            st.button("Use this folder", type="primary", key="use-manifest", on_click=_use, args=(path.parent,))


def _use(folder: Path) -> None:
    st.session_state["data.tab"] = "Data set"
    form.take(
        {"paths.manifest_dir": str(folder), "data.columns.labels": None} | folders.roles(folders.manifests(folder))
    )
