"""The fields of the Data page: features, manifests and uploads, findings, cohort."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.atomic import write_bytes
from ctbench_core.config import DEFAULT_TESTS, KEYS, Config, PathsConfig
from ctbench_core.dataset import list_test_sets
from ctbench_core.errors import CtbenchError
from ctbench_core.features import check_allowed
from ctbench_core.formatting import plural
from ctbench_core.label_leakage import encoder_name
from ctbench_core.manifest import read_configured
from ctbench_ui import form
from ctbench_ui.data import mapping
from ctbench_ui.form.folder_field import folder_field
from ctbench_ui.shared import as_text, cache, edit_rows, folders, show_error

UPLOADS = ".uploads"
WHERE = "data.cohort.where"
_UPLOAD, _UPLOAD_ERROR = "data.upload", "data.upload-problem"
_OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in")


def draw_saved(names: list[str]) -> None:
    """Draw the list of saved data sets; choosing one fills the fields."""
    st.session_state["data.open"] = form.dataset_name()
    st.selectbox(
        "Saved data sets", names, index=None, key="data.open", on_change=_open, placeholder="Open a saved data set"
    )


def _open() -> None:
    name = st.session_state["data.open"]
    if name:
        try:
            form.open_dataset(name)
        except CtbenchError as error:
            st.session_state["data.problem"] = str(error)


def draw_places(root: Path) -> None:
    """Draw the fields of the feature root and the manifests."""
    folder_field("paths.data_root", "Feature root", folders.feature_roots(root), on_change=_guess_folder)
    folder_field("paths.manifest_dir", "Manifest folder", folders.manifest_folders(root), on_change=_guess_roles)
    _offer_upload()
    files = _manifests()
    train, val = st.columns(2)
    with train:
        form.choice_field("data.train_manifest", "Training manifest", files)
    with val:
        form.choice_field("data.val_manifest", "Validation manifest", files)
    if files and st.session_state["data.val_manifest"] not in files and not st.session_state.get("data.columns.split"):
        st.caption("No validation manifest found: a share of the training patients is used for validation.")
    form.choices_field(
        "data.test_manifests", "Test manifests", files, accept_new_options=True, placeholder="Auto-detect"
    )
    if not st.session_state["data.test_manifests"]:
        tests = _detected_tests(files)
        st.caption(f"Test sets: {as_text(', '.join(tests))}." if tests else "No test manifest found: choose one.")


def _detected_tests(files: list[str]) -> list[str]:
    try:
        return list_test_sets(form.config())
    except CtbenchError:  # the check names the field that does not fit
        return [name for name in DEFAULT_TESTS if name in files]


def _manifests() -> list[str]:
    return folders.list_manifests(Path(st.session_state["paths.manifest_dir"] or "."))


def _guess_folder() -> None:
    """Choose the folder of the tables for a new feature root, where the present one has none."""
    root = str(st.session_state["paths.data_root"] or "")
    if root and not _manifests() and (folder := folders.find_manifests(Path(root).expanduser())):
        use_manifests(folder)


def _guess_roles() -> None:
    """Guess the manifests of a newly chosen folder, unless it has the one chosen before; detect findings again."""
    files = _manifests()
    if files and st.session_state.get("data.train_manifest") not in files:
        form.set_fields(folders.guess_roles(files))
    if files:
        form.set_fields({"data.columns.labels": None})


def _offer_upload() -> None:
    """Offer to upload manifests; valid ones become the manifest folder."""
    with st.popover("Upload manifests", icon=":material/upload_file:", key="data.upload-box"):
        st.file_uploader(
            "Training, validation and test manifests (CSV, TSV or Parquet, also gzipped)",
            list(folders.UPLOAD_TYPES),
            accept_multiple_files=True,
            key=_UPLOAD,
            on_change=_use_upload,
        )
        st.caption("Feature paths are relative to the feature root.")
        if error := st.session_state.get(_UPLOAD_ERROR):
            show_error("Not a manifest", error)


def _use_upload() -> None:
    st.session_state.pop(_UPLOAD_ERROR, None)
    files = [(file.name, file.getvalue()) for file in st.session_state[_UPLOAD]]
    if not files:
        return
    try:
        folder = store_upload(form.outputs_root(), files, form.config())
    except CtbenchError as error:
        st.session_state[_UPLOAD_ERROR] = str(error)
        return
    use_manifests(folder)


def use_manifests(folder: Path) -> None:
    """Choose a folder of manifests; their roles are guessed, their findings detected."""
    roles = folders.guess_roles(folders.list_manifests(folder))
    form.set_fields({"paths.manifest_dir": str(folder), "data.columns.labels": None} | roles)


def store_upload(outputs_root: Path, files: Sequence[tuple[str, bytes]], config: Config) -> Path:
    """Write uploaded manifests to a folder of their own, and return it.

    The folder's name depends on their content, so that no upload ever changes what an earlier run read.

    Args:
        files: names and contents.

    Raises:
        ManifestError: a file is not a manifest, also with other columns; then none is kept.
        PathError: the run store is outside CTBENCH_ROOTS.
    """
    digest = hashlib.sha256(b"".join(name.encode() + b"\0" + content for name, content in sorted(files)))
    stem = "-".join(Path(name).stem for name, _ in files)
    folder = check_allowed(
        outputs_root / UPLOADS / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', stem)[:40]}-{digest.hexdigest()[:8]}"
    )
    existed = folder.is_dir()
    paths = [folder / Path(name.replace("\\", "/")).name for name, _ in files]
    try:
        for path, (_, content) in zip(paths, files):
            write_bytes(path, content)
        for path in paths:
            _refuse_unmappable(path, config)
    except CtbenchError:
        if not existed:  # the same files may have been valid under other columns
            shutil.rmtree(folder)
        raise
    return folder


def _refuse_unmappable(path: Path, config: Config) -> None:
    """Refuse a table with an error that no setting solves; the page offers the fixes of the others."""
    try:
        read_configured(path, config)
    except CtbenchError as error:
        if not all(part.fixes for part in error.parts):
            raise


def draw_findings() -> None:
    """Show which columns count as findings; one click confirms them, two change them."""
    try:
        summary = cache.manifest_summary(form.config())
    except CtbenchError:
        return  # the check says what is wrong with a manifest
    confirmed = bool(st.session_state.get("data.columns.labels"))
    with st.container(border=True, gap="small"):
        badge = ":green-badge[:material/check: confirmed]" if confirmed else ":blue-badge[detected]"
        st.markdown(f"**{plural(len(summary['all_labels']), 'finding')}** in {as_text(summary['name'])} {badge}")
        st.caption(as_text(", ".join(summary["all_labels"])))
        inputs = "Visual and text features" if summary["first_text"] else "Visual features only"
        st.caption(f"{inputs}, {_describe_width(summary['dim'])}.")
        with st.container(horizontal=True):
            if not confirmed:
                st.button(
                    "Confirm",
                    icon=":material/check:",
                    key="confirm-findings",
                    on_click=form.set_fields,
                    args=({"data.columns.labels": summary["all_labels"]},),
                )
            with st.popover("Change", icon=":material/edit:", key="change-findings"):
                _edit_findings()


def _describe_width(dim: int) -> str:
    return plural(dim, "dimension") if dim else "not found below the feature root"


def _edit_findings() -> None:
    columns = folders.list_columns(form.config)
    more = {"accept_new_options": True}
    form.choices_field("data.columns.labels", "Findings", columns, placeholder="All columns of 0, 1 and blanks", **more)
    form.choices_field("data.columns.metadata", "Metadata columns", columns, placeholder="None", **more)


# title: icon, and how the config keys of its fields begin
_BOXES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Columns": (":material/view_column:", ("data.columns.",)),
    "Labels": (":material/new_label:", ("data.labels.",)),
    "Cohort and split": (":material/tune:", ("data.cohort.", "data.auto_split.", "data.on_")),
    "Features": (":material/blur_on:", ("data.feature_key", "data.pool", "data.standardise", "data.store_dtype")),
    "Budget and folds": (":material/call_split:", ("data.budget", "data.kfold.", "data.selection", "data.reference")),
    "Origin": (":material/id_card:", ("data.label_origin", "data.encoder.")),
}
_WITH_FINDINGS = ("data.columns.labels", "data.columns.metadata")
_OF_COLUMNS = ("data.columns.", "data.labels.list_column")  # keys whose values are columns of the manifest
_TITLES = {"mark": "warn", "refuse": "stop", "fail": "stop", "drop": "skip rows"}


def draw_details() -> None:
    """Draw the fields that most data sets leave alone, in boxes of one box, and above it which of them are set.

    A closed box costs no time.
    """
    boxes = {
        title: [key for key in KEYS if key.startswith(prefixes) and key not in _WITH_FINDINGS]
        for title, (_, prefixes) in _BOXES.items()
    }
    if is_set := form.changed_titles([key for keys in boxes.values() for key in keys]):
        st.caption(as_text(f"Set below: {', '.join(is_set)}."))
    label = f"More: {', '.join(_first_word(title) for title in boxes)}"
    with st.expander(label, icon=":material/tune:", key="data.box-more", on_change="rerun") as more:
        if more.open:
            for title, keys in boxes.items():
                _draw_box(title, keys)


def _first_word(title: str) -> str:
    return title.partition(" ")[0].lower()


def _draw_box(title: str, keys: Sequence[str]) -> None:
    name = f"data.box-{_first_word(title)}"
    # Decided once a session: a box must not open or close while a user fills it.
    in_use = st.session_state.setdefault(f"{name}-in-use", bool(form.changed_titles(keys)))
    with st.expander(title, expanded=in_use, icon=_BOXES[title][0], key=name, on_change="rerun") as expander:
        if expander.open:
            columns = folders.list_columns(form.config)
            for key in keys:
                _draw_field(key, columns)


def _draw_field(key: str, columns: list[str]) -> None:
    """Draw the field of a config key as its kind of value needs it."""
    info = KEYS[key]
    if key == WHERE:
        st.session_state.setdefault(WHERE, list(info.default))
        edit_rows(
            WHERE, "where", lambda row: as_text("{column} {op} {value}".format(**row)), lambda: _draw_where(columns)
        )
    elif isinstance(info.default, dict) and not isinstance(st.session_state.get(key), str):  # a label map has a name
        _draw_pairs(key)
    elif key.startswith(_OF_COLUMNS):
        form.choice_field(key, info.label, columns, index=None, placeholder="Automatic")
    elif key == "data.encoder.name":
        root = st.session_state.get("paths.data_root")
        paths = PathsConfig(data_root=root) if root else PathsConfig()
        form.field(key, placeholder=encoder_name(Config(paths=paths)))
    elif info.choices:
        form.field(key, format_func=lambda value: _TITLES.get(value, value))
    else:
        form.field(key)


def _draw_pairs(key: str) -> None:
    """Draw a config key that maps texts, a line a pair."""
    st.session_state.setdefault(key, dict(KEYS[key].default))

    def draw_new() -> Callable[[], tuple[str, Any] | None]:
        text = st.text_input(
            KEYS[key].label, key=f"{key}.text", help=KEYS[key].tooltip, placeholder="Text in the table"
        )
        if key == mapping.VALUES:
            meaning: Any = st.selectbox("Meaning", list(mapping.MEANINGS), key=f"{key}.meaning", width=120)
            meaning = mapping.MEANINGS[meaning]
        else:
            meaning = st.text_input("Name here", key=f"{key}.meaning", width=160).strip()
        return lambda: (text.strip(), meaning) if text.strip() and meaning != "" else None

    edit_rows(key, key, lambda pair: as_text(f"{pair[0]} → {pair[1]}"), draw_new)


def _draw_where(columns: list[str]) -> Callable[[], dict[str, Any] | None]:
    """Draw the fields of a new condition on a metadata column; return what reads them."""
    help = KEYS[WHERE].tooltip
    st.selectbox("Condition", columns, index=None, key="where.column", placeholder="Column", help=help)
    st.selectbox("Operator", _OPERATORS, key="where.op", width=90)
    st.text_input("Value", key="where.value", width=130, placeholder="40, or F, M")
    return _read_where


def _read_where() -> dict[str, Any] | None:
    column, text = st.session_state.get("where.column"), str(st.session_state.get("where.value") or "").strip()
    if not column or not text:
        return None
    st.session_state["where.value"] = ""
    operator = st.session_state["where.op"]
    return {"column": column, "op": operator, "value": parse_value(text, operator)}


def parse_value(text: str, operator: str) -> Any:
    """Read a typed value: a number, a text, or for ``in`` several texts with commas between."""
    if operator == "in":
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return float(text) if not text.lstrip("-").isdigit() else int(text)
    except ValueError:
        return text
