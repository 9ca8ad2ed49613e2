"""The data card, and the banner over metrics that measure label leakage."""

from __future__ import annotations

import pytest

from ctbench_core.config import Config, set_key
from ctbench_core.label_leakage import LEAKAGE, POSSIBLE_LEAKAGE, encoder_name, leakage_banner


@pytest.mark.parametrize(
    ("inputs", "origin", "banner"),
    [
        ("visual", "report-derived", ""),
        ("text", "manual", ""),
        ("text", "report-derived", LEAKAGE),
        ("concat", "report-derived", LEAKAGE),
        ("text", "unknown", POSSIBLE_LEAKAGE),
    ],
)
def test_text_inputs_against_report_labels_are_called_leakage(inputs: str, origin: str, banner: str) -> None:
    config = Config()
    set_key(config, "model.inputs", inputs)
    set_key(config, "data.label_origin", origin)
    assert leakage_banner(config) == banner


@pytest.mark.parametrize(
    ("root", "explicit", "name"),
    [
        ("/x/CT-CLIP_v2", None, "CT-CLIP_v2"),
        ("/x/merlin/features", None, "merlin"),
        ("features", None, "features"),
        ("/x/merlin/features", "Merlin 1.0", "Merlin 1.0"),
    ],
)
def test_the_encoder_has_a_name(root: str, explicit: str | None, name: str) -> None:
    config = Config()
    config.paths.data_root, config.data.encoder.name = root, explicit
    assert encoder_name(config) == name
