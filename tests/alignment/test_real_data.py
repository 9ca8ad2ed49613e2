from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.alignment import AlignmentOptions, AlignmentResult, align

sys.path.insert(0, str(Path(__file__).parent))

from brute_force import similarities

DATA = Path(os.environ.get("CTBENCH_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"real data not found at {DATA}")


def test_clip_on_coco_reaches_its_known_recall() -> None:
    arrays = np.load(DATA / "pairs/clip_coco.npz")
    metrics = align(arrays["image"], arrays["text"], np.arange(500)).metrics
    known = {"v_to_t": (0.552, 0.808, 0.892), "t_to_v": (0.506, 0.766, 0.862)}
    actual = {way: tuple(metrics[f"{way}_recall_at_{k}"] for k in (1, 5, 10)) for way in known}
    assert actual == {way: pytest.approx(values, abs=1e-12) for way, values in known.items()}


Sides = list[tuple[np.ndarray, np.ndarray]]


def read_split(name: str) -> tuple[pd.DataFrame, Sides]:
    """Return a manifest, and the distinct vectors of volumes and of reports with the row of each sample."""
    frame = pd.read_csv(DATA / f"ctrate/manifests/{name}.csv", dtype=str)
    sides = []
    for column in ("visual_feature_path", "text_feature_path"):
        paths, rows = np.unique(frame[column].tolist(), return_inverse=True)
        root = DATA / "ctrate/features/minilm"
        sides.append((np.stack([np.load(root / path)["arr_0"].ravel() for path in paths]), rows))
    return frame, sides


@pytest.fixture(scope="module", params=["test", "valid"])
def cohort(request: pytest.FixtureRequest) -> tuple[AlignmentResult, dict[str, float]]:
    frame, ((image, image_rows), (text, text_rows)) = read_split(request.param)
    exams = frame["volumename"].str.replace(r"_\d+$", "", regex=True).tolist()
    labels = ["".join(values) for values in frame.iloc[:, 3:].to_numpy(str)]
    result = align(image, text, exams, labels, image_rows=image_rows, text_rows=text_rows)
    return result, json.loads((DATA / "reference/alignment.json").read_text())[request.param]


def test_metrics_of_the_older_system_agree_up_to_ties(cohort: tuple[AlignmentResult, dict[str, float]]) -> None:
    result, reference = cohort
    for name in (name for name in reference if "similarity" in name):
        assert result.metrics[name] == pytest.approx(reference[name], abs=1e-6)
    for name in (name for name in reference if "recall" in name):
        # The older system breaks ties as they come; few tied queries straddle any one depth.
        assert result.metrics[name] == pytest.approx(reference[name], abs=0.006)
    # Its MAP and nDCG by its own definitions; ties are fewer in the smaller cohort.
    for name in (name for name in reference if name.endswith(("_map", "_mrr")) or "ndcg" in name):
        assert result.metrics[f"compat_{name}"] == pytest.approx(reference[name], abs=0.005)
        assert result.metrics["samples_analyzed"] != 479 or result.metrics[f"compat_{name}"] == pytest.approx(
            reference[name], abs=1e-6
        )
    ranks = result.ranks_frame()
    ranks["cut"] = ranks["reciprocal_rank"].where(ranks["first_rank"] <= 50, 0.0)
    for (direction, truth), mean in ranks.groupby(["direction", "truth"])["cut"].mean().items():
        prefix = {"instance": "", "semantic": "semantic_"}.get(truth)
        if prefix is not None:
            assert mean == pytest.approx(reference[f"{prefix}{direction}_mrr"], abs=0.005)


def test_own_pair_beats_the_others_and_chance(cohort: tuple[AlignmentResult, dict[str, float]]) -> None:
    recall = cohort[0].recall_frame()
    assert (recall.loc[recall["truth"] == "instance", "lift"] > 1.5).all()
    assert np.allclose(recall["lift"], recall["recall"] / recall["chance"])


def test_findings_equal_brute_force() -> None:
    """Volumes of an exam share a report: in the gallery of reports every query's own vector has other samples."""
    frame, ((image, image_rows), (text, text_rows)) = read_split("test")
    names = list(frame.columns[3:])
    targets, n = frame[names].to_numpy(float), len(frame)
    patients = frame["volumename"].str.extract(r"^([a-z]+_\d+)_")[0].to_numpy()
    options = AlignmentOptions(targets, names, patients, within=True, nearest=60)
    rows = {"image_rows": image_rows, "text_rows": text_rows}
    result = align(image, text, frame["volumename"].to_numpy(), k=(1, 10), options=options, **rows)
    table = result.tables["findings"].set_index(["direction", "finding"])
    for name in ("Mosaic attenuation pattern", "Cardiomegaly"):
        has = targets[:, names.index(name)] == 1
        queries = np.flatnonzero(has)
        for way, (query_rows, query_side, gallery_rows, gallery_side) in {
            "v_to_t": (image_rows, image, text_rows, text),
            "v_to_v": (image_rows, image, image_rows, image),
            "t_to_t": (text_rows, text, text_rows, text),
        }.items():
            matrix = similarities(query_side[query_rows[queries]], gallery_side)[:, gallery_rows]
            row = table.loc[(way, name)]
            assert row["patients"] == len(set(patients[has]))
            precisions = []
            for query, scores in zip(queries, matrix):
                gallery = np.ones(n, bool) if way == "v_to_t" else np.arange(n) != query
                values, has_it = scores[gallery], has[gallery]
                above, tied = ((compare(values, values[:, None])).sum(axis=1) for compare in (np.greater, np.equal))
                precisions.append([(np.clip(k - above, 0, tied) / tied) @ has_it / k for k in (1, 10)])
            for k, wanted in zip((1, 10), np.mean(precisions, axis=0)):
                assert row[f"precision_at_{k}"] == pytest.approx(wanted, abs=1e-9)
                assert row[f"lower_at_{k}"] <= row[f"precision_at_{k}"] <= row[f"upper_at_{k}"]
