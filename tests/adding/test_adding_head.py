"""A head is one declaration and the class that it names: command line, trainer, checkpoints, Methods and form follow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

# A head of somebody: two layers with LayerNorm and dropout.
HEAD = """
from torch import nn

class TwoLayers(nn.Module):
    def __init__(self, params, features, findings):
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, params.width), nn.GELU(), nn.LayerNorm(params.width),
            nn.Dropout(params.dropout), nn.Linear(params.width, findings),
        )

    def forward(self, x):
        return self.body(x)

class Counting(nn.Module):
    def __init__(self, params, features, findings):
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(features), nn.Linear(features, findings)

def refuse_text(config):
    return "added_layers reads visual embeddings. Set model.inputs=visual." if config.model.inputs == "text" else None
"""

SCRIPT = """
from ctbench_core.declared import HEADS, Head, key

WIDTH = {"width": (int, key(12, "Width of the two-layer head.", scope="bank", label="Width", low=1))}
HEADS.add(
    Head(
        "added_layers",
        "Two layers",
        "two layers with LayerNorm",
        module="their_head:TwoLayers",
        keys=("model.params.dropout",),
        parameters=WIDTH,
        refuse="their_head:refuse_text",
    )
)
HEADS.add(Head("counting", "Counting", "BatchNorm", module="their_head:Counting"))

import contextlib, io, json, sys
from pathlib import Path

import numpy as np
import torch
from streamlit.testing.v1 import AppTest

from ctbench_core.cli.main import main
from ctbench_core.cli.compose import compose_config
from ctbench_core.evaluate import predict_logits
from ctbench_core.experiment import load_training, run_bank, run_experiment
from ctbench_core.report import run_paper
from ctbench_core.runs import open_run, read_history
from their_head import TwoLayers

project, base = sys.argv[1], json.loads(sys.argv[2])
result = {}


def call(*words):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*words, "--json"])
    return code, json.loads(out.getvalue().splitlines()[-1])


def config(*words):
    return compose_config([*base, *words], job_name="train").config


def weights(folder):
    return torch.load(folder / "checkpoints" / "final_model.pt", weights_only=True)


def difference(a, b):
    assert list(a) == list(b)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as text:
    main(["train", "--help"])
result["help"] = text.getvalue()
result["refused"] = [
    call(verb, *base, *words)[1]
    for verb, words in (
        ("train", ["model.inputs=gated"]),
        ("train", ["model.inputs=text"]),
        ("check", ["model.inputs=text"]),
        ("train", ["model._target_=counting"]),
    )
]

code, trained = call("train", *base, "model.params.width=7", "utils.seed=1", "data.standardise=zscore")
assert code == 0, trained
folder = Path(trained["run_dir"])
others = [("utils.seed=1", "data.standardise=zscore", "training.learning_rate=0.03"), ("utils.seed=2", "data.standardise=zscore"),
          ("utils.seed=1", "data.standardise=zscore", "data.budget=20")]
bank = run_bank([config("model.params.width=7", *words) for words in (*others, ("utils.seed=1", "data.standardise=zscore"))])
result["bank"] = difference(weights(folder), weights(Path(bank[-1]["run_dir"])))
result["others"] = min(difference(weights(folder), weights(Path(run["run_dir"]))) for run in bank[:-1])

own = config("model.params.width=7", "utils.seed=1", "data.standardise=zscore")
data, state = load_training(own), weights(folder)
plain = TwoLayers(own.model.params, 16, 3).double().eval()
plain.load_state_dict({name: tensor for name, tensor in state.items() if name.startswith("body")})
x, v = data.inputs("train").astype(np.float64), data.inputs("val").astype(np.float64)
with torch.no_grad():
    expected = plain(torch.from_numpy((v - x.mean(0)) / x.std(0))).numpy()
result["plain"] = float(np.abs(predict_logits(state, data, "val", "cpu", own.model) - expected).max())
best = open_run(folder).best()
result["loss"] = [line["train_loss"] for line in read_history(open_run(folder).paths.metrics)]

straight = Path(run_experiment(config("training.max_epochs=4", "training.early_stopping_patience=9"))["run_dir"])
short = Path(run_experiment(config("training.max_epochs=2", "training.early_stopping_patience=9"))["run_dir"])
run_experiment(open_run(straight).config, short, resume=True)
result["resumed"] = [difference(weights(straight), weights(short)), open_run(short).status.epoch]

code, evaluated = call("evaluate", f"run={straight}")
assert code == 0, evaluated
result["auroc"] = evaluated["test"]["test.csv"]["auroc"]
result["methods"] = run_paper(open_run(straight), "test")["methods.txt"]

app = AppTest.from_file(f"{project}/ctbench_ui/main.py", default_timeout=60).run()
for word in base[:2]:
    name, _, value = word.partition("=")
    app.session_state[name] = value
app.switch_page("../pages/train.py").run()
app.selectbox(key="model._target_").set_value("added_layers").run()
assert not app.exception, app.exception
result["fields"] = {field.key: field.label for field in (*app.number_input, *app.text_input)}
result["parameters"] = {metric.label: metric.value for metric in app.metric}["Parameters"]
print(json.dumps(result))
"""


def test_a_registered_head_is_used_as_any_other(
    tmp_path: Path, make_overrides: Callable[[Path], list[str]], tiny_data: Path
) -> None:
    (tmp_path / "their_head.py").write_text(HEAD, encoding="utf-8")
    base = [*make_overrides(tiny_data), "training.precision=float64", "training.learning_rate=0.01"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}", "OMP_NUM_THREADS": "1"}
    environment["CTBENCH_OUTPUTS"] = str(tmp_path / "outputs")
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(PROJECT), json.dumps([*base, "model._target_=added_layers"])],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    result = json.loads(ended.stdout.splitlines()[-1])
    assert "model.params.width" in result["help"]
    gated, text, checked, counting = result["refused"]
    assert "needs a head that learns the gate: mlp or linear, not added_layers" in gated["error"]
    assert text["error"].startswith("added_layers reads visual embeddings")
    assert text["error"] in checked["errors"], "check and train give one text"
    assert "has buffers (norm.running_mean" in counting["error"]
    assert result["bank"] < 1e-8, "a run depends on its own settings, not on those it trains with"
    assert result["others"] > 1e-4
    assert result["plain"] < 1e-12, "the stored weights are those of the class in plain PyTorch"
    assert result["loss"][-1] < result["loss"][0]
    assert result["resumed"] == [0, 4], "killed and resumed equals never killed, dropout included"
    assert 0 <= result["auroc"] <= 1
    assert "A head (two layers with LayerNorm with dropout 0.35 and width 12) was trained" in result["methods"]
    assert result["fields"]["model.params.width"] == "Width"
    assert "model.params.hidden_dims" not in result["fields"]
    assert result["parameters"] == f"{2 * 16 + 16 * 12 + 12 + 2 * 12 + 12 * 3 + 3:,}"
