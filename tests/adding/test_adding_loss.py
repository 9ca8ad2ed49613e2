"""A loss is one declaration and the function that it names: command line, kernels, resume, Methods and form follow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

# A loss of somebody, without a written gradient: generalised cross-entropy (Zhang and Sabuncu, NeurIPS 2018).
LOSS = """
import torch

def added_ce(logits, targets, power):
    p_target = torch.sigmoid(torch.where(targets > 0, logits, -logits))
    return (1 - p_target**power) / power
"""

SCRIPT = """
from ctbench_core.declared import LOSSES, Loss, key

LOSSES.add(
    Loss(
        "added_ce",
        "Generalised CE",
        "generalised cross-entropy",
        "their_loss:added_ce",
        parameters={"power": (float, key(0.7, "Power of the generalised cross-entropy.", scope="stack", label="Power", above=0))},
    )
)

import contextlib, io, json, sys
from pathlib import Path

import torch
from streamlit.testing.v1 import AppTest

from ctbench_core.cli.main import main
from ctbench_core.cli.compose import compose_config
from ctbench_core.experiment import load_training, run_bank, run_experiment
from ctbench_core.report import run_paper
from ctbench_core.runs import open_run
from ctbench_core.train.batches import stream
from ctbench_core.train.trainer import Trainer

project, base = sys.argv[1], json.loads(sys.argv[2])
result = {}


def call(*words):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*words])
    return code, out.getvalue()


def train(*words):
    code, out = call("train", *base, *words, "--json")
    assert code == 0, out
    return Path(json.loads(out.splitlines()[-1])["run_dir"])


def weights(folder):
    return torch.load(folder / "checkpoints" / "final_model.pt", weights_only=True)


def difference(a, b):
    return max(float((a[name] - b[name]).abs().max()) for name in a)


with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as text:
    main(["train", "--help"])
result["help"] = text.getvalue()
result["refused"] = call("train", *base, "training.loss.power=0")[0]

own = ["training.loss._target_=added_ce", "training.loss.power=0.3"]
others = [["training.loss._target_=added_ce"], ["training.loss._target_=focal"], own]
solo = [weights(train(*words)) for words in others]
configs = [compose_config([*base, *words], job_name="train").config for words in others]
bank = [weights(Path(run["run_dir"])) for run in run_bank(configs)]
result["bank"] = [difference(a, b) for a, b in zip(solo, bank)]
result["powers"] = difference(solo[0], solo[2])

config = configs[2].copy()
config.model._target_, config.training.learning_rate = "linear", 0.01
data = load_training(config)
trainer = Trainer([config], [data])
plain = torch.nn.Linear(16, 3).double()
plain.load_state_dict({name.removeprefix("network.0."): t for name, t in trainer.state_dict(0).items()})
adam = torch.optim.Adam(plain.parameters(), lr=0.01)
x, y = torch.from_numpy(data.inputs("train")).double(), torch.from_numpy(data.manifests["train"].targets).double()
weight = (len(y) - y.sum(0)) / y.sum(0)
for epoch in (1, 2):
    trainer.run_epoch([epoch])
    for rows in torch.randperm(len(x), generator=stream(42, "batches", epoch)).split(16):
        p = torch.sigmoid(plain(x[rows]))
        likelihood = torch.where(y[rows] > 0, p, 1 - p)
        values = torch.where(y[rows] > 0, weight, 1.0) * -torch.expm1(0.3 * torch.log(likelihood)) / 0.3
        adam.zero_grad()
        values.mean().backward()
        adam.step()
result["plain"] = float((trainer.state_dict(0)["network.0.weight"] - plain.weight.detach()).abs().max())

straight = train(*own, "training.max_epochs=4", "training.early_stopping_patience=9")
short = train(*own, "training.max_epochs=2", "training.early_stopping_patience=9", "paths.run_dir=short")
run_experiment(open_run(straight).config, short, resume=True)
result["resumed"] = difference(weights(straight), weights(short))
result["epochs"] = open_run(short).status.epoch

code, out = call("evaluate", f"run={straight}", "--json")
assert code == 0, out
result["methods"] = run_paper(open_run(straight), "test")["methods.txt"]

app = AppTest.from_file(f"{project}/ctbench_ui/main.py", default_timeout=60).run()
for word in base[:2]:
    name, _, value = word.partition("=")
    app.session_state[name] = value
app.switch_page("../pages/train.py").run()
keys = lambda: [field.key for field in app.number_input]
result["before"] = "training.loss.power" in keys()
app.selectbox(key="training.loss._target_").set_value("added_ce").run()
result["after"] = "training.loss.power" in keys()
assert not app.exception, app.exception
(field,) = [field for field in app.number_input if field.key == "training.loss.power"]
result["field"] = [field.label, field.value]
result["titles"] = app.selectbox(key="training.loss._target_").options
print(json.dumps(result))
"""


def test_a_registered_loss_is_used_as_any_other(tmp_path: Path, make_overrides, tiny_data: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "their_loss.py").write_text(LOSS, encoding="utf-8")
    base = [*make_overrides(tiny_data), "training.precision=float64", "training.learning_rate=0.01"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}", "OMP_NUM_THREADS": "1"}
    environment["CTBENCH_OUTPUTS"] = str(tmp_path / "outputs")
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(PROJECT), json.dumps(base)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    result = json.loads(ended.stdout.splitlines()[-1])
    assert "training.loss.power" in result["help"]
    assert "added_ce" in result["help"]
    assert result["refused"] == 2
    assert max(result["bank"]) < 1e-8, "a run depends on its own settings, not on those it trains with"
    assert result["powers"] > 1e-3
    assert result["plain"] < 1e-10
    assert (result["resumed"], result["epochs"]) == (0, 4)
    assert "loss generalised cross-entropy (power 0.3) with positives weighted" in result["methods"]
    assert (result["before"], result["after"]) == (False, True)
    assert result["field"] == ["Power", 0.7]
    assert "Generalised CE" in result["titles"]
