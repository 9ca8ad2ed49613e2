"""Features that differ by finding: one run trains a probe a finding, each as if it were trained alone on its features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from ctbench_core.checks import check
from ctbench_core.config import Config, set_key
from ctbench_core.dataset import pack_features
from ctbench_core.errors import ConfigError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment

ROWS = {"train": 60, "valid": 40, "test": 50}
WIDTHS = {"lung": 6, "heart": 4}
SOURCE = {"Nodule": "lung", "Cardiomegaly": "heart", "Opacity": "lung"}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write one HDF5 file a case in a folder a region, the same in one file a case with an array a region, and tables."""
    root, draw = tmp_path_factory.mktemp("regions"), np.random.default_rng(1)
    directions = {finding: draw.normal(size=WIDTHS[region]) for finding, region in SOURCE.items()}
    for folder in (*WIDTHS, "both", "manifests"):
        (root / folder).mkdir()
    for split, count in ROWS.items():
        rows = []
        for case in range(count):
            name, vectors = f"{split}_{case}_a_1", {}
            for region, width in WIDTHS.items():
                vectors[region] = draw.normal(size=width).astype(np.float32)
                with h5py.File(root / region / f"{name}.h5", "w") as file:
                    file["y_hat"] = vectors[region]
            with h5py.File(root / "both" / f"{name}.h5", "w") as file:
                for region, vector in vectors.items():
                    file[region] = vector
            labels = {c: int(vectors[SOURCE[c]] @ d + draw.normal() > 0) for c, d in directions.items()}
            rows.append({"volumename": name, "visual_feature_path": f"{name}.h5", **labels})
        pd.DataFrame(rows).to_csv(root / "manifests" / f"{split}.csv", index=False)
    return root


@pytest.fixture
def build(places: Path, tmp_path: Path) -> Callable[..., Config]:
    def make(**changes: Any) -> Config:
        config = Config()
        values = {
            "paths.data_root": str(places / "lung"),
            "paths.manifest_dir": str(places / "manifests"),
            "paths.outputs_root": str(tmp_path / "outputs"),
            "data.per_finding": {finding: str(places / region) for finding, region in SOURCE.items()},
            "data.standardise": "zscore",
            "model._target_": "linear",
            "training.learning_rate": 0.05,
            "training.max_epochs": 25,
            "training.early_stopping_patience": 25,
            "training.precision": "float64",
            "training.monitor": "loss",
            "evaluation.detail": "scores",
            "utils.device": "cpu",
        }
        for name, value in {**values, **changes}.items():
            set_key(config, name, value)
        return config

    return make


def weights_of(run_dir: str) -> tuple[np.ndarray, np.ndarray]:
    state = torch.load(Path(run_dir) / "checkpoints" / "final_model.pt", weights_only=True)
    return state["network.0.weight"].double().numpy(), state["network.0.bias"].double().numpy()


def scores_of(run_dir: str) -> pd.DataFrame:
    return pd.read_parquet(Path(run_dir) / "evaluation" / "test" / "scores.parquet").set_index("volumename")


def vectors_of(places: Path, region: str, split: str) -> np.ndarray:
    names = pd.read_csv(places / "manifests" / f"{split}.csv")["volumename"]
    vectors = []
    for name in names:
        with h5py.File(places / region / f"{name}.h5") as file:
            vectors.append(file["y_hat"][()])
    return np.stack(vectors).astype(np.float64)


def test_a_probe_reads_the_features_of_its_finding_only(places: Path, build: Callable[..., Config]) -> None:
    run_dir = run_experiment(build())["run_dir"]
    metrics = evaluate_run(run_dir)["test"]["test.csv"]
    assert list(metrics["per_class"]) == list(SOURCE)
    weight, bias = weights_of(run_dir)
    assert weight.shape == (3, sum(WIDTHS.values()))
    scores, table = scores_of(run_dir), pd.read_csv(places / "manifests" / "test.csv").set_index("volumename")
    columns = {"lung": slice(0, 6), "heart": slice(6, 10)}
    for c, (finding, region) in enumerate(SOURCE.items()):
        others = np.delete(weight[c], np.arange(10)[columns[region]])
        assert (others == 0).all() and (weight[c, columns[region]] != 0).all()
        logits = vectors_of(places, region, "test") @ weight[c, columns[region]] + bias[c]
        np.testing.assert_allclose(scores[f"logit_{finding}"], logits, atol=1e-6)
        auroc = roc_auc_score(table.loc[scores.index, finding], logits)
        assert metrics["per_class"][finding]["auroc"] == pytest.approx(auroc, abs=1e-12)
        assert auroc > 0.7


def test_logistic_probes_are_those_of_scikit_learn_on_each_findings_features(
    places: Path, build: Callable[..., Config]
) -> None:
    changes = {"model._target_": "logistic", "model.params.c": [1.0], "training.loss.pos_weight": "none"}
    weight, bias = weights_of(run_experiment(build(**changes))["run_dir"])
    table = pd.read_csv(places / "manifests" / "train.csv")
    columns = {"lung": slice(0, 6), "heart": slice(6, 10)}
    for c, (finding, region) in enumerate(SOURCE.items()):
        vectors = vectors_of(places, region, "train")
        scaler = StandardScaler().fit(vectors)
        model = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(scaler.transform(vectors), table[finding])
        expected = model.coef_[0] / scaler.scale_
        np.testing.assert_allclose(weight[c, columns[region]], expected, rtol=1e-3, atol=1e-4)
        assert bias[c] == pytest.approx(float(model.intercept_[0] - expected @ scaler.mean_), abs=1e-3)
        assert (np.delete(weight[c], np.arange(10)[columns[region]]) == 0).all()


def test_arrays_of_one_file_are_the_same_as_roots(places: Path, build: Callable[..., Config]) -> None:
    roots = run_experiment(build(**{"data.standardise": "l2"}))["run_dir"]
    one = {"paths.data_root": str(places / "both"), "data.per_finding": dict(SOURCE), "data.standardise": "l2"}
    arrays = run_experiment(build(**one))["run_dir"]
    for first, second in zip(weights_of(roots), weights_of(arrays)):
        np.testing.assert_array_equal(first, second)
    evaluate_run(arrays)
    norms = np.linalg.norm(vectors_of(places, "heart", "test"), axis=1, keepdims=True)
    weight, bias = weights_of(arrays)
    logits = vectors_of(places, "heart", "test") / norms @ weight[1, 6:] + bias[1]
    np.testing.assert_allclose(scores_of(arrays)["logit_Cardiomegaly"], logits, atol=1e-6)


def test_check_and_pack_read_every_source(places: Path, build: Callable[..., Config]) -> None:
    result = check(build())
    assert result.ok and result.dim == 10 and len(result.audits) == 2
    packed = pack_features(build())
    assert len(packed["parts"]) == 2 and packed["files"] == 2 * sum(ROWS.values())
    assert sorted(part["dim"] for part in packed["parts"].values()) == [4, 6]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.per_finding": {"Nodule": "y_hat"}}, "no features for Cardiomegaly, Opacity"),
        ({"model._target_": "mlp", "model.params.hidden_dims": [8]}, "goes with model=linear_probe or model=logistic"),
        ({"model._target_": "knn"}, "goes with model=linear_probe or model=logistic"),
        ({"model.inputs": "concat"}, r"model.inputs=visual, not with linear and concat"),
    ],
)
def test_what_a_probe_a_finding_cannot_be_is_refused(
    build: Callable[..., Config], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_experiment(build(**changes))
