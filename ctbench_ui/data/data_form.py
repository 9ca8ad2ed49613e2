"""The left side of the Data page: features, manifests, findings, cohort."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.config import DEFAULT_TESTS, Config, PathsConfig
from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import plural
from ctbench_core.label_leakage import encoder_name
from ctbench_ui import form
from ctbench_ui.data import uploads
from ctbench_ui.form import conditions, folder_field
from ctbench_ui.shared import cache, folders


def saved(names: list[str]) -> None:
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


def places(root: Path) -> None:
    """Draw the fields of the feature root and the manifests."""
    folder_field.field("paths.data_root", "Feature root", folders.feature_roots(root))
    folder_field.field("paths.manifest_dir", "Manifest folder", folders.manifest_folders(root), on_change=_guess_roles)
    uploads.draw()
    found = folders.manifests(Path(st.session_state["paths.manifest_dir"] or "."))
    train, val = st.columns(2)
    with train:
        form.choice("data.train_manifest", "Training manifest", found)
    with val:
        form.choice("data.val_manifest", "Validation manifest", found)
    if found and st.session_state["data.val_manifest"] not in found:
        st.caption("No such validation manifest: a share of the training patients is set aside instead.")
    form.choices("data.test_manifests", "Test manifests", found, accept_new_options=True, placeholder="The usual names")
    if not st.session_state["data.test_manifests"]:
        usual = [name for name in DEFAULT_TESTS if name in found]
        st.caption(f"Test sets: {', '.join(usual) if usual else 'none of the usual names is in this folder'}.")


def _guess_roles() -> None:
    """Give the manifests of a newly chosen folder their parts, where the names chosen before are not in it."""
    found = folders.manifests(Path(st.session_state["paths.manifest_dir"] or "."))
    if found and st.session_state.get("data.train_manifest") not in found:
        form.take(folders.roles(found))
    if found:
        form.take({"data.columns.labels": None})  # another folder, other columns: they are detected anew


def findings() -> None:
    """Show which columns count as findings; one click confirms them, two change them."""
    try:
        found = cache.manifest_summary(form.config())
    except CtbenchError:
        return  # the manifest is not there yet; the check says what is wrong with one that is
    confirmed = bool(st.session_state.get("data.columns.labels"))
    with st.container(border=True, gap="small"):
        mark = ":green-badge[:material/check: confirmed]" if confirmed else ":blue-badge[detected]"
        st.markdown(f"**{plural(len(found['all_labels']), 'finding')}** in {found['name']} {mark}")
        st.caption(", ".join(found["all_labels"]))
        inputs = ["image features"] + (["text features"] if found["first_text"] else [])
        st.caption(
            f"{' and '.join(inputs).capitalize()}{'' if found['first_text'] else ' only'}, {_width(found['dim'])}."
        )
        with st.container(horizontal=True):
            if not confirmed:
                st.button(
                    "Confirm",
                    icon=":material/check:",
                    key="confirm-findings",
                    on_click=form.take,
                    args=({"data.columns.labels": found["all_labels"]},),
                )
            with st.popover("Change", icon=":material/edit:", key="change-findings"):
                _edit_findings()


def _width(dim: int) -> str:
    return f"{dim:,} values each" if dim else "not found below the feature root"


def _edit_findings() -> None:
    columns = folders.columns(form.config)
    more = {"accept_new_options": True}
    form.choices("data.columns.labels", "Findings", columns, placeholder="Every 0/1/blank column", **more)
    form.choices("data.columns.metadata", "Columns that are no findings", columns, placeholder="None", **more)


def details() -> None:
    """Draw what most data sets leave alone; fields of a closed box cost no time. A box in use stands open."""
    cohort = ("data.columns.visual", "data.columns.text", "data.columns.grouping", "data.cohort", "data.auto_split")
    boxes = {
        "Columns, cohort and split": (":material/tune:", _cohort, (*cohort, "data.on_", "data.pool", "data.standard")),
        "Budget and folds": (":material/call_split:", _parts, ("data.budget", "data.kfold", "data.selection")),
        "Labels and encoder": (":material/id_card:", _origins, ("data.label_origin", "data.encoder")),
    }
    for title, (icon, draw, keys) in boxes.items():
        name = f"data.box-{title.split()[0].lower()}"
        # Asked once a session: a box does not open or close under the hand that fills it.
        in_use = st.session_state.setdefault(f"{name}-in-use", form.chosen(keys))
        with st.expander(title, expanded=in_use, icon=icon, key=name, on_change="rerun") as box:
            if box.open:
                draw()


def _cohort() -> None:
    columns = folders.columns(form.config)
    form.choice("data.columns.visual_feature", "Visual feature column", columns)
    form.choice("data.columns.text_feature", "Text feature column", columns)
    form.choice("data.columns.grouping_col", "Patient column", columns)
    form.field("data.cohort.recon", "Reconstructions")
    form.field("data.cohort.exclude", "File of volumes to leave out")
    conditions.draw(columns)
    form.field("data.auto_split.val_fraction", "Validation share", step=0.05)
    form.field("data.auto_split.group", "Never divided")
    form.field("data.on_leak", "Patients on both sides")
    form.field("data.on_bad_feature", "Unusable feature files")
    form.field("data.pool", "Token features")
    form.field("data.standardise", "Scaling")


def _parts() -> None:
    form.field("data.budget", "Budget", placeholder="All volumes")
    form.field("data.budget_unit", "Counted in")
    form.field("data.kfold.folds", "Folds", placeholder="No folds")
    form.field("data.kfold.fold", "Held-out fold")
    form.field("data.kfold.group", "Never divided between folds")
    form.field("data.selection", "Volumes of another run", placeholder="…/selection_index.csv")


def _origins() -> None:
    form.field("data.label_origin", "Labels come from")
    form.field("data.encoder.name", "Encoder", placeholder=encoder_name(Config(paths=_root())))
    form.field("data.encoder.pretraining", "Pre-trained on")
    form.field("data.encoder.projection", "Embedding taken")


def _root() -> PathsConfig:
    root = st.session_state.get("paths.data_root")
    return PathsConfig(data_root=root) if root else PathsConfig()
