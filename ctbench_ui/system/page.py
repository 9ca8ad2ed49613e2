"""System: versions, machine, folders, and the diagnostics to send along with a question."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
from pathlib import Path

import pandas as pd
import psutil
import streamlit as st

import ctbench_core
from ctbench_core.config import Config, PathsConfig
from ctbench_core.dataset import pack_cache
from ctbench_core.doctor import sized
from ctbench_core.features import allowed_roots
from ctbench_core.provenance import PACKAGES
from ctbench_core.runs import TRASH, empty_trash, run_folders
from ctbench_ui import form
from ctbench_ui.frame import status_bar
from ctbench_ui.shared import charts, meters
from ctbench_ui.system import doctor_panel, packed_features


def draw() -> None:
    """Draw the page."""
    st.title("System", anchor=False)
    memory, process = psutil.virtual_memory(), psutil.Process()
    root = form.outputs_root()
    here = root if root.is_dir() else Path()
    cards = st.columns(4)
    cards[0].metric("Device", status_bar.device(), border=True)
    cards[1].metric("Processors", f"{psutil.cpu_count()}", border=True)
    cards[2].metric("Memory in use", f"{memory.used / 2**30:.1f} of {memory.total / 2**30:.0f} GiB", border=True)
    cards[3].metric("Disk free", f"{shutil.disk_usage(here).free / 2**30:.0f} GiB", border=True)
    doctor_panel.draw()
    config = Config(paths=PathsConfig(outputs_root=str(root)))
    packed = pack_cache(config)
    packed_size = folder_size(packed)
    versions = {
        "ctbench": ctbench_core.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    versions |= {name: importlib.metadata.version(name) for name in (*PACKAGES, "streamlit", "plotly")}
    roots = ", ".join(map(str, allowed_roots())) or "every folder of this machine"
    folders = {
        "run store": f"{root.resolve()} ({len(run_folders(root))} runs)",
        "packed features": f"{packed.resolve()} ({sized(packed_size)})",
        "started in": str(Path.cwd()),
        "allowed folders": roots,
    }
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Versions", anchor=False)
        st.dataframe(pd.DataFrame(versions.items(), columns=["package", "version"]), hide_index=True, alt="Versions")
    with right:
        st.subheader("Folders", anchor=False)
        st.dataframe(pd.DataFrame(folders.items(), columns=["what", "where"]), hide_index=True, alt="Folders")
        st.caption("The run store is set by CTBENCH_OUTPUTS, the allowed folders by CTBENCH_ROOTS.")
        st.metric("Memory of this app", f"{process.memory_info().rss / 2**30:.2f} GiB")
        deleted = folder_size(root / TRASH)
        if st.button(
            f"Empty the trash · {sized(deleted)}",
            icon=":material/delete_forever:",
            key="empty-trash",
            disabled=not deleted,
            help="Deleted runs lie in the run store until then, and can be put back.",
        ):
            st.toast(f"Freed {sized(empty_trash(root))}", icon=":material/check_circle:")
            st.rerun()
    box = st.expander(
        f"Packed features · {sized(packed_size)}", icon=":material/inventory_2:", key="packs", on_change="rerun"
    )
    if box.open:
        with box:
            packed_features.draw(packed)
    st.fragment(lately, run_every=meters.EVERY_S)()
    st.subheader("Diagnostics", anchor=False)
    st.caption("Versions, machine and folders, and what the Doctor found; no data. Copy it into a report of a problem.")
    content = {
        "versions": versions,
        "folders": folders,
        "cpus": os.cpu_count(),
        "memory_gib": round(memory.total / 2**30, 1),
    }
    if (looked := doctor_panel.last()) is not None:
        content["doctor"] = [finding for finding in looked["findings"] if finding["level"] != "ok"]
    st.code(json.dumps(content, indent=2), language="json")


def folder_size(folder: Path) -> int:
    """Return the bytes below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def lately() -> None:
    """Draw the machine over the last ten minutes, and the end of the log."""
    seen = meters.get_meters()
    frame, lines = pd.DataFrame(list(seen.samples)), list(seen.tail.lines)
    st.subheader("Last ten minutes", anchor=False)
    if len(frame):
        alt = "Processors and memory in use over the last ten minutes"
        st.plotly_chart(charts.machine(frame), key="meters", config=charts.CONFIG, alt=alt)
    else:
        st.caption("The first look at the machine comes a few seconds after the server starts.")
    st.subheader("Log", anchor=False)
    if lines:
        st.code("\n".join(lines), language=None, height=220)
    else:
        st.caption("Nothing was logged since the server started: runs that fail are told here.")
