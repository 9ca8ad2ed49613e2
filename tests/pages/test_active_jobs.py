"""The status bar names the process of a run, unless it is this one."""

from __future__ import annotations

import dataclasses

from ctbench_core.runs import new_status
from ctbench_ui.shared.active_jobs import other_process


def test_a_process_of_another_host_with_the_same_number_is_another_one() -> None:
    own = new_status("a run")
    assert other_process(own) == ""
    assert other_process(dataclasses.replace(own, host="elsewhere")) == f"process {own.pid} on elsewhere"
