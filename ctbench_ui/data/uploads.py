"""Manifests from the user's own machine, kept in the run store beside the data sets."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from ctbench_core.atomic import write_bytes
from ctbench_core.config import ColumnsConfig
from ctbench_core.errors import CtbenchError
from ctbench_core.features import check_allowed
from ctbench_core.manifest import read_manifest
from ctbench_ui import form
from ctbench_ui.shared import feedback, folders

FOLDER = ".uploads"
_FIELD, _PROBLEM = "data.upload", "data.upload-problem"


def keep(outputs_root: Path, files: Sequence[tuple[str, bytes]], columns: ColumnsConfig) -> Path:
    """Write uploaded manifests to a folder of their own, and return it.

    The folder's name tells its content, so that no upload ever changes what an earlier run read.

    Args:
        files: names and contents.

    Raises:
        ManifestError: a file is no manifest; then none is kept.
        PathError: the run store lies outside CTBENCH_ROOTS.
    """
    digest = hashlib.sha256(b"".join(name.encode() + b"\0" + content for name, content in sorted(files)))
    stem = "-".join(Path(name).stem for name, _ in files)
    folder = check_allowed(
        outputs_root / FOLDER / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', stem)[:40]}-{digest.hexdigest()[:8]}"
    )
    known = folder.is_dir()
    paths = [folder / Path(name.replace("\\", "/")).name for name, _ in files]
    for path, (_, content) in zip(paths, files):
        write_bytes(path, content)
    try:
        for path in paths:
            read_manifest(path, columns)
    except CtbenchError:
        if not known:  # what other columns once made good stays
            shutil.rmtree(folder)
        raise
    return folder


def draw() -> None:
    """Offer to upload manifests; good ones become the manifest folder."""
    with st.popover("Upload manifests", icon=":material/upload_file:", key="data.upload-box"):
        st.file_uploader(
            "CSV or Parquet: training, validation, tests",
            [suffix.lstrip(".") for suffix in folders.MANIFEST_SUFFIXES],
            accept_multiple_files=True,
            key=_FIELD,
            on_change=_take,
        )
        st.caption("Their feature paths are looked up below the feature root.")
        if problem := st.session_state.get(_PROBLEM):
            feedback.problem("Not a manifest", problem)


def _take() -> None:
    st.session_state.pop(_PROBLEM, None)
    files = [(file.name, file.getvalue()) for file in st.session_state[_FIELD]]
    if not files:
        return
    try:
        folder = keep(form.outputs_root(), files, form.config().data.columns)
    except CtbenchError as error:
        st.session_state[_PROBLEM] = str(error)
        return
    st.session_state["paths.manifest_dir"] = str(folder)
    form.take(folders.roles(folders.manifests(folder)) | {"data.columns.labels": None})
