"""Evaluate a run on test sets: a deliberate and logged step, since repeated evaluation makes a test less of a test."""

from __future__ import annotations

import contextlib
from pathlib import Path

import streamlit as st

from ctbench_core.config import Config
from ctbench_core.dataset import ManifestCache, list_test_sets, read_test_manifests
from ctbench_core.errors import CtbenchError, InputError
from ctbench_core.evaluate import evaluate_run, evaluated_config
from ctbench_core.formatting import plural
from ctbench_core.runs import VALIDATION, Ledger, Metrics, Run, is_stale, open_run, openings_of, read_metrics
from ctbench_ui.evaluate import evaluate_on_validation
from ctbench_ui.frame import address, readonly
from ctbench_ui.shared import as_text, folders, progress_bar, show_error, show_errors


def offer(run_dir: Path, evaluated: list[str]) -> None:
    """Offer to evaluate a run on test sets, also again on those that it was evaluated on."""
    if readonly.is_on():
        return
    with show_errors("The test sets of this run cannot be listed"):
        run = open_run(run_dir)
        cache, labels = ManifestCache(), list(run.best().get("val_metrics", {}).get("per_class", {}))
        # Before the first evaluation every set is also read below.
        own = list_test_sets(run.config, cache=None if evaluated else cache, labels=labels)
        others = [name for name in folders.list_manifests(Path(run.config.paths.manifest_dir)) if name not in own]
        icon = ":material/query_stats:"
        box = (
            st.popover("Evaluate on test", icon=icon, width="content", key="evaluate-again")
            if evaluated
            else st.expander("Evaluate on test", icon=icon, expanded=True)
        )
        with box:
            st.markdown(
                "Tune on validation, evaluate on test once. Each evaluation is logged in `evaluations.jsonl` of the run store."
            )
            new = [name for name in own if Path(name).stem not in evaluated]
            key = f"tests-{run_dir.name}" + (f"-{len(evaluated)}" if evaluated else "")  # a new field for what is left
            with st.container(horizontal=True, vertical_alignment="bottom"):  # the open list would cover a button below
                names = st.multiselect("Test manifests", [*own, *others], default=new, key=key, accept_new_options=True)
                pressed = st.button("Evaluate on test", key="evaluate", disabled=not names)
            _show_earlier(run, names, labels, cache)
            if pressed:
                _evaluate(run_dir, names)


def stored_metrics(run: Run, name: str) -> Metrics:
    """Return the stored metrics of a run on a test set, or on validation.

    Raises:
        InputError: there are none.
    """
    metrics = read_metrics(run.paths.bundle(name).metrics)
    if metrics is None:
        raise InputError(f"{run.name} has no metrics of {name}. Press Evaluate on test.")
    return metrics


def _show_earlier(run: Run, names: list[str], labels: list[str], cache: ManifestCache) -> None:
    """Write how many other runs were evaluated on each test set, as far as its manifest can be read."""
    for name in names:
        with contextlib.suppress(CtbenchError):  # evaluating says what is wrong with the manifest
            (manifest,) = read_test_manifests(run.config, labels, [name], cache).values()
            others = {one.run_id for one in Ledger(run.store).openings_of([manifest.identity.id])} - {run.run_id}
            verb = "was" if len(others) == 1 else "were"
            if others:
                st.caption(
                    f":material/history: {as_text(name)}: {plural(len(others), 'other run')} {verb} evaluated on it."
                )


def warn_if_stale(run: Run, name: str) -> None:
    """Warn when a run was trained further after this evaluation, and offer to repeat it."""
    epoch = stored_metrics(run, name).best_epoch
    best = run.best().get("epoch")
    if not is_stale(epoch, best):
        return
    text = f"These results are of epoch {epoch:,}. The run was trained further: its best epoch is now {best:,}."
    if name == VALIDATION:
        evaluate_on_validation.offer_again(run, text)
        return
    if readonly.is_on():
        st.warning(text, icon=":material/update:")
        return
    st.warning(f"{text} Evaluating again replaces them and is logged.", icon=":material/update:")
    hint = "Wait until the run ends." if run.status.active else None
    if st.button(
        "Evaluate again", icon=":material/query_stats:", key="open-again", disabled=run.status.active, help=hint
    ):
        _evaluate(run.paths.root, [_manifest_of(run, name)], evaluated_config(run, name))


def _manifest_of(run: Run, name: str) -> str:
    """Return the manifest that an evaluation was made from: as the config names it, else as the ledger does."""
    logged = [opening.manifest for opening in openings_of([run], name)]
    manifests = [one for one in (*list_test_sets(run.config), *reversed(logged)) if Path(one).stem == name]
    return next(iter(manifests), f"{name}.csv")


def _evaluate(run_dir: Path, names: list[str], config: Config | None = None) -> None:
    try:
        with progress_bar("Reading") as progress:
            result = evaluate_run(run_dir, names, config=config, progress=progress)
    except CtbenchError as error:
        show_error("The run cannot be evaluated on test", str(error))
        return
    for text in result["warnings"]:
        st.toast(text, icon=":material/warning:", duration="long")
    paths = open_run(run_dir).paths
    shown = [paths.evaluation(name).root.name for name in result["test"]][:1]
    address.write_ids("test", shown)  # in place of validation
    st.rerun()


def is_complete(run: Run, name: str) -> bool:
    """Return whether an evaluation holds more than scores, as runs of a study store; else offer to compute the rest."""
    if stored_metrics(run, name).detail != "scores":
        return True
    st.info("Only scores are stored for this run of a study.")
    if not readonly.is_on() and st.button(
        "Compute intervals, curves and calibration", type="primary", icon=":material/query_stats:", key="complete"
    ):
        config = evaluated_config(run, name)
        config.evaluation.detail = "full"
        with progress_bar("Evaluating") as progress:
            evaluate_run(run.paths.root, [_manifest_of(run, name)], config=config, progress=progress)
        st.rerun(scope="app")
    return False
