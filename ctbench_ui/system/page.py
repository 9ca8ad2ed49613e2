"""The System page: doctor, damaged runs, machine, what was deleted, versions, folders, and diagnostics."""

from __future__ import annotations

import functools
import html
import importlib.metadata
import json
import os
import platform
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import streamlit as st

import ctbench_core
from ctbench_core.config import Config, PathsConfig
from ctbench_core.dataset import pack_cache
from ctbench_core.features import allowed_roots
from ctbench_core.formatting import format_bytes, plural
from ctbench_core.palette import COLOURS
from ctbench_core.provenance import PACKAGES
from ctbench_core.runs import deleted_in, size_of
from ctbench_ui import form
from ctbench_ui.frame import address, status_bar
from ctbench_ui.shared import cache, live, meters
from ctbench_ui.system import damaged_runs, deleted_list, doctor_panel, packed_features

_LOADS = {"processors": "processors", "memory": "memory", "gpu_memory": "GPU memory"}
# As the tables of Streamlit's markdown, which have no name for a screen reader.
_STYLE = """<style>
.ctbench-pairs {border-collapse: collapse; font-size: .875rem}
.ctbench-pairs :is(th, td) {border: 1px solid rgba(128, 128, 128, .2); padding: .4rem .75rem; text-align: left; overflow-wrap: anywhere}
.ctbench-pairs th[scope=row] {font-weight: inherit; white-space: nowrap}
</style>"""
_KINDS = {"train": "run", "align": "alignment", "score": "prediction table"}


def draw() -> None:
    """Draw the page."""
    st.title("System", anchor=False)
    root = form.outputs_root()
    packed = pack_cache(Config(paths=PathsConfig(outputs_root=str(root))))
    packed_size = size_of(packed)
    table = cache.read_table(root)
    versions, folders = _versions(), _folders(root, packed, packed_size, table.rows)
    doctor_panel.draw()
    damaged_runs.draw(root, table.damaged)
    _draw_machine(root)
    _draw_deleted(root)
    left, right = st.columns(2, gap="large")
    with left:
        st.header("Versions", anchor=False)
        _draw_pairs("Versions", versions, ("Package", "Version"))
    with right:
        st.header("Folders", anchor=False)
        _draw_pairs("Folders", folders, ("Folder", "Path"))
        st.caption("CTBENCH_OUTPUTS sets the run store, CTBENCH_ROOTS the allowed folders.")
        st.metric("Memory of this app", f"{psutil.Process().memory_info().rss / 2**30:.2f} GiB")
    with st.expander(
        f"Packed features · {format_bytes(packed_size)}", icon=":material/inventory_2:", key="packs", on_change="rerun"
    ) as expander:
        if expander.open:
            packed_features.draw(packed)
    st.fragment(draw_history, run_every=meters.EVERY_S)()
    _draw_diagnostics(versions, folders)


def _draw_deleted(root: Path) -> None:
    """Draw what was deleted, to restore it, open where the address asks for it; a closed box lists nothing."""
    deleted = deleted_in(root)
    size = format_bytes(sum(one.size for one in deleted))
    with st.expander(
        f"Deleted · {plural(len(deleted), 'item')}, {size}" if deleted else "Deleted · nothing",
        icon=":material/delete:",
        expanded=bool(deleted) and address.linked_value("system.open") == "deleted",
        key="deleted",
        on_change="rerun",
    ) as expander:
        if expander.open:
            deleted_list.draw(root)


def _draw_machine(root: Path) -> None:
    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(root if root.is_dir() else Path())
    values = {
        "Device": status_bar.describe_device(),
        "Processors": f"{psutil.cpu_count()}",
        "Memory in use": f"{memory.used / 2**30:.1f} of {memory.total / 2**30:.0f} GiB",
        "Disk free": f"{disk.free / 2**30:.0f} GiB",
    }
    pairs = list(values.items())
    for place, column in enumerate(st.columns(2, gap="small")):
        with column.container(key=f"machine-{place}", horizontal=True, gap="small"):  # two side by side on a phone too
            for name, value in pairs[2 * place : 2 * place + 2]:
                st.metric(name, value, border=True)


@functools.cache
def _versions() -> dict[str, str]:
    own = {"ctbench": ctbench_core.__version__, "python": platform.python_version(), "platform": platform.platform()}
    return own | {name: importlib.metadata.version(name) for name in (*PACKAGES, "streamlit", "plotly")}


def _folders(root: Path, packed: Path, packed_size: int, rows: list[dict[str, Any]]) -> dict[str, str]:
    return {
        "run store": f"{root.resolve()} ({_count_runs(rows)})",
        "packed features": f"{packed.resolve()} ({format_bytes(packed_size)})",
        "started in": str(Path.cwd()),
        "allowed folders": ", ".join(map(str, allowed_roots())) or "every folder of this machine",
    }


def _count_runs(rows: list[dict[str, Any]]) -> str:
    """Count the runs of a store as Runs does, and what else is stored beside them."""
    counts = Counter(row["kind"] for row in rows)
    parts = [plural(counts[kind], noun) for kind, noun in _KINDS.items() if counts[kind] or kind == "train"]
    return ", ".join(parts)


def _draw_pairs(name: str, pairs: dict[str, str], titles: tuple[str, str]) -> None:
    """Draw names and their values as a table whose texts wrap: a path is longer than a phone is wide.

    It is one text: of `st.table` each cell is a text of its own, which takes a browser several times as long.

    Args:
        name: of the table, for a screen reader.
    """
    head = "".join(f"<th scope=col>{html.escape(title)}</th>" for title in titles)
    rows = "".join(
        f"<tr><th scope=row>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>" for key, value in pairs.items()
    )
    label = html.escape(name, quote=True)
    st.html(
        f'{_STYLE}<table class=ctbench-pairs aria-label="{label}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def draw_history() -> None:
    """Draw the machine over the last ten minutes, and the end of the log."""
    history = meters.get_meters()
    samples, lines = list(history.samples), list(history.tail.lines)
    st.header("Last ten minutes", anchor=False)
    if samples:
        _draw_load(samples)
    else:
        st.caption("The first sample comes a few seconds after the server starts.")
    st.header("Log", anchor=False)
    if lines:
        st.code("\n".join(lines), language=None, height=220)
    else:
        st.caption("Nothing logged since the server started. Failures appear here.")


def _draw_load(samples: list[dict[str, Any]]) -> None:
    drawn = [
        {"name": title, "colour": colour, "values": [sample[name] for sample in samples]}
        for (name, title), colour in zip(_LOADS.items(), COLOURS)
        if name in samples[-1]
    ]
    alt = "Processors and memory in use over the last ten minutes"
    panel = {"title": "Share in use", "alt": alt, "isShare": True, "lines": drawn}
    live.draw_panels("meters", [sample["time"].timestamp() for sample in samples], [panel], is_time=True)


def _draw_diagnostics(versions: dict[str, str], folders: dict[str, str]) -> None:
    memory_gib = round(psutil.virtual_memory().total / 2**30, 1)
    content = {"versions": versions, "folders": folders, "cpus": os.cpu_count(), "memory_gib": memory_gib}
    if (result := doctor_panel.last_result()) is not None:
        content["doctor"] = [finding for finding in result["findings"] if finding["level"] != "ok"]
    with st.expander(
        "Diagnostics for a problem report", icon=":material/content_copy:", key="diagnostics", on_change="rerun"
    ) as expander:
        if expander.open:
            st.caption("Versions, machine, folders and problems found by the Doctor, without data.")
            st.code(json.dumps(content, indent=2), language=None)
