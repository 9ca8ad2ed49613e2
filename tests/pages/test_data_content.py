"""The Data page offers fixes for what a check reports, shows cohorts with their N, and compares label sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score
from streamlit.testing.v1 import AppTest

from ctbench_ui.data import data_form, plots
from ctbench_ui.shared import as_text, datasets

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]


def table_with(app: AppTest, column: str) -> pd.DataFrame:
    return next(frame.value for frame in app.dataframe if column in frame.value)


def check(app: AppTest) -> AppTest:
    app.button(key="check").click().run()
    assert not app.exception
    return app


def test_unusable_files_come_with_a_fix_and_one_click_leaves_them_out(
    data: Path, places: dict[str, str], open_page: Open, said: Said
) -> None:
    (data / "features" / "image" / "train_3_a.npz").unlink()
    app = check(open_page("data", places))
    table = table_with(app, "fix")
    assert table[["kind", "file"]].to_numpy().tolist() == [["missing", "image/train_3_a.npz"]]
    assert "Correct the path" in table["fix"][0]
    app.button(key="fix-data.on_bad_feature=drop").click().run()
    assert not app.error
    sizes = table_with(app, "Split").set_index("Split")
    assert sizes.loc["Training", "Volumes"] == 60  # manifests are whole; dropped rows are a warning
    assert "train_3_a_1, train_3_a_2 (2 volumes) skipped" in said(app)


def test_a_leak_of_validation_is_fixed_by_one_click(
    data: Path, places: dict[str, str], rewrite: Callable[..., None], open_page: Open
) -> None:
    rewrite(data / "manifests" / "valid.csv", lambda rows: rows[1].__setitem__(0, "train_3_z_1"))
    app = check(open_page("data", places))
    assert table_with(app, "patient")["patient"].tolist() == ["train_3"]
    app.button(key="fix-leak").click().run()
    assert not any("patient" in frame.value for frame in app.dataframe)
    assert table_with(app, "Split")["Patients"].tolist()[:2] == [27, 3]


def test_the_cohort_is_shown_with_its_numbers(data: Path, places: dict[str, str], open_page: Open, said: Said) -> None:
    (data / "out.txt").write_text("train_1_a_1\ntrain_2_a_1.nii.gz\n")
    fields: dict[str, Any] = {
        "data.cohort.exclude": str(data / "out.txt"),
        "data.cohort.recon": "first",
        "data.box-more": True,
    }
    app = open_page("data", places | fields)
    app.selectbox(key="where.column").set_value("volumename")
    app.selectbox(key="where.op").set_value("!=")
    app.text_input(key="where.value").set_value("train_3_a_1")
    app.button(key="where-add").click().run()
    app = check(app)
    expected = (
        "Cohort of train.csv: 60 volumes in all, 58 after the exclusion list, 57 with volumename != train_3_a_1, "
        "30 with the first reconstruction of each exam."
    )
    assert as_text(expected) in said(app)
    assert table_with(app, "Split")["Volumes"][0] == 30
    app.button(key="where-remove-0").click().run()
    assert app.session_state[data_form.WHERE] == []


@pytest.mark.parametrize(
    ("text", "operator", "value"),
    [("40", ">=", 40), ("1.5", "<", 1.5), ("F", "==", "F"), ("F, M", "in", ["F", "M"]), ("-3", "<", -3)],
)
def test_a_typed_value_is_a_number_a_word_or_several(text: str, operator: str, value: object) -> None:
    assert data_form.parse_value(text, operator) == value


def test_the_card_is_shown_and_kept_with_the_data_set(
    places: dict[str, str], store: Path, open_page: Open, said: Said
) -> None:
    card = {
        "data.label_origin": "report-derived",
        "data.encoder.name": "CT-CLIP v2",
        "data.encoder.projection": "after",
    }
    app = check(open_page("data", places | card))
    assert "Labels: **report-derived** · encoder: **CT-CLIP v2** · after projection" in said(app)
    app.text_input(key="data.name").set_value("mine").run()
    app.button(key="save").click().run()
    kept = datasets.load(store, "mine").data
    assert (kept.label_origin, kept.encoder.name, kept.encoder.projection) == ("report-derived", "CT-CLIP v2", "after")


def test_label_sources_are_compared(
    data: Path, places: dict[str, str], labels: list[str], open_page: Open, said: Said
) -> None:
    path = data / "manifests" / "train.csv"
    other = pd.read_csv(path)
    other.loc[other.index % 5 == 0, labels[0]] ^= 1
    other.iloc[6:].to_csv(data / "other.csv", index=False)
    chosen = places | {"data.tab": "Compare labels", "sources.first": str(path)}
    app = open_page("data", chosen)
    app.button(key="compare-labels").click().run()
    assert "Two manifests are needed" in said(app)
    app = open_page("data", chosen | {"sources.second": str(data / "other.csv")})
    app.button(key="compare-labels").click().run()
    assert not app.exception
    row = table_with(app, "kappa").set_index("finding").loc[labels[0]]
    first = pd.read_csv(path).iloc[6:]
    assert row["kappa"] == pytest.approx(cohen_kappa_score(first[labels[0]], other.iloc[6:][labels[0]]))
    assert "not compared" not in said(app)
    assert (row["volumes"], row["train.csv"]) == (54, pytest.approx(first[labels[0]].mean()))
    assert "6 volumes only in train.csv" in said(app)
    other.drop(columns=labels[0]).to_csv(data / "other.csv", index=False)
    app.button(key="compare-labels").click().run()
    assert f"Only in train.csv, not compared: {labels[0]} (1 finding)." in said(app)


def test_the_norms_are_drawn_by_kind() -> None:
    drawn = plots.norms({"visual": ([1, 3], [0.0, 1.0, 2.0]), "text": ([2], [0.0, 4.0])})
    assert [bar.name for bar in drawn.data] == ["visual", "text"]
    assert list(drawn.data[0].x) == [0.5, 1.5]
    np.testing.assert_array_equal(drawn.data[0].y, [1, 3])
    assert not drawn.layout.xaxis.labelalias  # ``.99`` between ``0.985`` and ``0.995``


def test_charts_do_not_repeat_the_sizes_above_them_but_their_pictures_do(
    places: dict[str, str], open_page: Open, said: Said
) -> None:
    app = check(open_page("data", places))
    layout = json.loads(app.get("plotly_chart")[0].proto.spec)["layout"]
    assert "title" not in layout
    assert "Training: 60 volumes" in layout["meta"]["picture"]["title"]["text"]


@pytest.mark.parametrize(
    ("lowest", "shown"), [(0.9999, "all have norm 1"), (0.5, "norms 0.5 to 1, median 1")], ids=["alike", "different"]
)
def test_equal_norms_are_one_number(lowest: float, shown: str) -> None:
    def draw(lowest: float) -> None:
        from ctbench_ui.data import check_report

        check_report.draw_norms("visual", {"norms": {"min": lowest, "median": 1.0, "max": 1.0}})

    app = AppTest.from_function(draw, args=(lowest,)).run()
    assert [caption.value for caption in app.caption] == [f"Visual vectors: {shown}."]
