"""The command that does the same as a form or a run, for each shell."""

from __future__ import annotations

import streamlit as st

from ctbench_core.config import Config
from ctbench_core.overrides import commands


def draw_command(config: Config) -> None:
    """Show the command that trains with these settings: of this system's shell first, then of the other."""
    forms = commands(config)
    for shell, command in forms.items():
        if len(forms) > 1:
            st.caption(shell)
        st.code(command, language=None, wrap_lines=True)
