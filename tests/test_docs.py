"""README and docs are true: every command and code block runs, every link and anchor has a target."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from ctbench_core.cli.verbs import VERBS
from ctbench_core.config import ColumnsConfig
from ctbench_core.declared import DATASETS
from ctbench_core.demo import write_demo
from ctbench_core.manifest import read_manifest
from ctbench_core.tables import read_header
from tests.browser.browser_user import TABS
from tests.old_system import train_old_run, write_tree
from tests.public_datasets import CASES

PROJECT = Path(__file__).resolve().parents[1]
TEXTS = {
    path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8")
    for path in [PROJECT / "README.md", PROJECT / "data" / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
}
PROGRAM = "python -m ctbench_core "
RUN = "outputs/train/<run id>"
# Documents whose blocks a test here runs; CI runs the README's installation, and the browser tests the app.
COMMANDS = ("README.md", "docs/command-line.md")
GUIDES = ("docs/tutorial.md", *(name for name in TEXTS if name.startswith("docs/how-to/")))
CONVENTIONS = "docs/data-formats.md"
EXAMPLES = ("README.md", "docs/data-formats.md", "docs/moving-in.md")
PATIENTS = 90  # of the demo data that the guides run on
INSTALLATION = ("pip install", "streamlit run app.py")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXTS[name], flags=re.DOTALL)


def commands(name: str) -> list[str]:
    lines = [line for block in blocks(name, "sh") for line in block.splitlines()]
    return [" ".join(line.split()) for line in lines if line.startswith(PROGRAM)]


def rows() -> list[str]:
    """Return the new command of every row of the mapping table."""
    cells = [line.split("|")[2].strip() for line in TEXTS["docs/moving-in.md"].splitlines() if line.startswith("| ")]
    return [cell.strip("`") for cell in cells if cell.startswith(f"`{PROGRAM}")]


def newest(job: str = "train") -> str:
    return str(
        max((path.parent for path in Path("outputs", job).glob("*/status.json")), key=lambda p: p.stat().st_mtime)
    )


def run(cli: Callable[..., Any], command: str, quick: dict[str, list[str]]) -> Any:
    named = re.sub(r"outputs/([\w-]+)/<run id>", lambda match: newest(match[1]), command)
    overrides = shlex.split(named)[3:]
    ended = cli(*overrides, *quick.get(overrides[0], []))
    assert ended.code == 0, f"{command}\n{ended.err}"
    return ended


def test_the_commands_and_examples_on_the_demo_data_run(
    cli: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands("docs/command-line.md")[0] == f"{PROGRAM}demo"
    assert cli("demo").code == 0
    shutil.copytree(PROJECT / "examples", "examples")
    quick = {"train": ["training.max_epochs=2", "model.params.hidden_dims=[16]"]}
    quick["study"] = ["training.max_epochs=1", "evaluation.after_training=false"]
    quick["search"] = ["trials=2", "training.max_epochs=1"]
    every = dict.fromkeys(command for name in COMMANDS for command in commands(name))
    ran = [command for command in every if not command.endswith(" demo")]
    for command in ran:
        run(cli, command, quick)
    assert {shlex.split(command)[3] for command in ran} >= {"check", "train", "evaluate", "align", "score", "export"}
    for name in EXAMPLES:
        for block in blocks(name, "python"):
            code = block.replace(RUN, newest()).replace("max_epochs = 30", "max_epochs = 3")
            code = code.replace('"training.max_epochs": 60', '"training.max_epochs": 2')
            exec(compile(code, name, "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"AUPRC 0\.\d+, AUROC 0\.\d+ on \d+ patients", printed)


def _small_study(content: dict[str, Any]) -> str:
    """Return a study with one epoch a run, and few runs."""
    content["base"] |= {"training.max_epochs": 1}
    content["grid"] |= {name: values[:2] for name, values in content["grid"].items() if isinstance(values, list)}
    return yaml.safe_dump(content)


def _run_block(language: str, block: str, name: str, cli: Callable[..., Any]) -> dict[str, Any]:
    """Run a block of a guide on less data and for fewer epochs; return the JSON of its commands."""
    small = {
        '"training.max_epochs": 60': '"training.max_epochs": 2',
        '"data/demo")': f'"data/demo", patients={PATIENTS})',
    }
    if language == "python":
        for text, smaller in small.items():
            block = block.replace(text, smaller)
        exec(compile(block, name, "exec"), {})
    if language == "yaml":
        content = yaml.safe_load(block)
        Path(f"{content['name']}.yaml").write_text(_small_study(content), encoding="utf-8")
    if language != "sh" or any(part in block for part in INSTALLATION):
        return {}
    assert all(line.startswith(PROGRAM) for line in block.splitlines()), f"{name}: {block}"
    quick = {"train": ["training.max_epochs=2", "model.params.hidden_dims=[16]"]}
    return {command: run(cli, command, quick).json for command in block.splitlines() if not command.endswith(" demo")}


def test_every_block_of_the_guides_runs_in_its_order(cli: Callable[..., Any]) -> None:
    write_demo(patients=PATIENTS)
    example = PROJECT / "examples" / "study_label_budget.yaml"
    Path("examples").mkdir()
    Path("examples", example.name).write_text(_small_study(yaml.safe_load(example.read_text())), encoding="utf-8")
    results: dict[str, Any] = {}
    for name in GUIDES:
        shutil.rmtree("outputs", ignore_errors=True)  # each guide begins with an empty run store
        for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", TEXTS[name], flags=re.MULTILINE | re.DOTALL):
            results |= _run_block(language, block, name, cli)
    verbs = {command.split()[3] for command in results}
    assert verbs == {"check", "train", "evaluate", "compare", "study", "prepare", "agree", "pack", "doctor", "export"}
    (written,) = (result for command, result in results.items() if "output_file=" in command)
    assert written["rows"] == len(pd.read_csv("data/my_labels/train.csv")) > 50
    (encoders,) = (result for command, result in results.items() if "encoders.yaml" in command)
    assert encoders["runs"] == 4
    assert {(row["a"], row["b"]) for row in encoders["differences"]} == {("demo", "mine")}


def test_every_convention_of_the_docs_is_prepared(cli: Callable[..., Any]) -> None:
    shown = blocks(CONVENTIONS, "sh")
    assert len(shown) == len(DATASETS)
    for name, block in zip(DATASETS, shown):
        *files, command = block.splitlines()
        overrides = dict(word.split("=", 1) for word in shlex.split(command)[4:])
        root = Path(overrides["root"])
        assert overrides["dataset"] == name
        root.mkdir(parents=True)
        CASES[name].write(root, np.random.default_rng(3))
        for line in files:
            file, columns = line.removeprefix("# ").split(": ", 1)
            known = (root / file).read_text() if file.endswith(".txt") else ",".join(read_header(root / file))
            first = re.split(r" or | \(|,", columns)[0]
            assert file.endswith(".txt") or first in known, line
        ended = run(cli, command, {})
        assert ended.json["rows"] == sum(
            len(pd.read_csv(path)) for path in Path(overrides["output_file"]).glob("*.csv")
        )


def test_six_lines_give_our_probabilities(cli: Callable[..., Any], overrides: list[str], tiny_data: Path) -> None:
    trained = cli("train", *overrides, "model.params.hidden_dims=[8,4]").json["run_dir"]
    assert cli("evaluate", f"run={trained}").code == 0
    (block,) = blocks("docs/moving-in.md", "python")
    assert len([line for line in block.splitlines() if line]) == 6
    scope: dict[str, Any] = {}
    exec(compile(block.replace(RUN, trained), "docs/moving-in.md", "exec"), scope)
    scores = pd.read_parquet(Path(trained) / "evaluation" / "test" / "scores.parquet")
    manifest = pd.read_csv(tiny_data / "manifests" / "test.csv").set_index("volumename").loc[scores["volumename"]]
    x = np.stack([np.load(tiny_data / "features" / path)["arr_0"][0] for path in manifest["visual_feature_path"]])
    expected = scope["network"](scope["torch"].tensor(x)).sigmoid().detach().numpy()
    ours = scores[[name for name in scores if name.startswith("prob_")]].to_numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.fixture
def old_project(tiny_data: Path, tmp_path: Path) -> Path:
    """Lay out a project of the older system, with its data, tables and finished runs, where the command line runs."""
    folder = tmp_path / "working"
    data, root = folder / "data", "features/CT-CLIP_v2"
    shutil.copytree(tiny_data / "features", data / root)
    shutil.copytree(tiny_data / "manifests", data / "manifests")
    for source in ("manual", "gpt"):
        shutil.copytree(tiny_data / "manifests", data / "manifests" / source)
    shutil.copy(data / "manifests" / "test.csv", data / "manifests" / "train_medium.csv")
    _write_tables(data)
    columns = {"data.columns.text_feature": "text_feature_path", "data.columns.metadata": ["PatientSex"]}
    write_tree(folder / "configs", {"paths.data_root": f"data/{root}", **columns})
    labels = ["Lung nodule", "Lung opacity"]
    for job in ("gpt_budget", "manual_budget"):
        for seed in (1, 2):
            name = f"train_n40_s{seed}.csv"
            frame = pd.read_csv(data / "manifests" / "train.csv")
            frame.sample(40, random_state=seed).to_csv(data / "manifests" / name, index=False)
            place = folder / "outputs" / job / f"train_n40_s{seed}"
            train_old_run(place, data, labels, seed=seed, epochs=2, train=name, root=root)
    stopped = folder / "outputs" / "stopped" / "latest_run"
    train_old_run(stopped, data, labels, seed=3, epochs=2, train="train_n40_s1.csv", root=root, finished=False)
    (study,) = blocks("docs/moving-in.md", "yaml")
    (folder / "phase3.yaml").write_text(study)
    return folder


def _write_tables(data: Path) -> None:
    """Write CT-RATE's tables of the training volumes, and manual labels by accession number."""
    train = pd.read_csv(data / "manifests" / "train.csv")
    volumes = train["volumename"] + ".nii.gz"
    findings = train.drop(columns=["volumename", "visual_feature_path", "text_feature_path"])
    tables = {
        "labels/labels": findings.assign(VolumeName=volumes),
        "splits/train": pd.DataFrame({"VolumeName": volumes}),
        "metadata/metadata": pd.DataFrame({"VolumeName": volumes, "PatientSex": "F"}),
        "radiology_text_reports/reports": pd.DataFrame({"VolumeName": volumes, "Findings_EN": "Clear."}),
        "labels/manual_labels/all_manual_labels": findings.assign(AccessionNo=train.index),
        "labels/manual_labels/map_train_classifier": pd.DataFrame(
            {"AccessionNo": train.index, "NameinCTRATE": volumes}
        ),
    }
    for name, table in tables.items():
        path = data / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)


def test_every_row_of_the_mapping_table_runs(old_project: Path, cli: Callable[..., Any]) -> None:
    quick = {"study": ["training.monitor=loss"], "align": ["data.columns.labels=null"]}
    ran = rows()
    assert len(ran) >= 20
    results = {}
    for command in ran:
        if "resume.state_path" in command:  # an older run that was stopped after its second epoch
            quick = quick | {"train": ["training.max_epochs=4"]}
        if "resume.enabled" in command:  # a run that was stopped
            status = Path(newest()) / "status.json"
            status.write_text(status.read_text().replace('"finished"', '"cancelled"'))
            quick = quick | {"train": ["training.max_epochs=12"]}
        if "--config-name" in command:  # the tree names runs by the second, and this one follows at once
            quick = quick | {"train": ["hydra.run.dir=outputs/train/second"]}
        results[command] = run(cli, command, quick).json
        quick.pop("train", None)
    for overrides, table in (("aggregate outputs/gpt_budget", "by_budget"), ("contrast first=", "per_class_summary")):
        files = next(result["files"] for command, result in results.items() if overrides in command)
        assert len(pd.read_csv(files[table])) > 0
    assert len(pd.read_csv("volumes.csv")) == 56  # one feature file an exam
    assert len(pd.read_csv("data/manifests/manual_train.csv")) == 60
    imported = cli("import", "outputs")
    assert (imported.code, imported.json["failed"], len(imported.json["runs"])) == (0, 0, 5)
    resumed = next(result for command, result in results.items() if "resume.state_path" in command)
    assert (resumed["epochs"], Path(resumed["run_dir"]).parent.name) == (4, "stopped")


def test_the_manifests_shown_are_manifests(tmp_path: Path) -> None:
    shown = {name: blocks(name, "csv") for name in TEXTS if blocks(name, "csv")}
    assert set(shown) == {"data/README.md", "docs/data-formats.md"}
    for name, (block,) in shown.items():
        path = tmp_path / "train.csv"
        path.write_text(block, encoding="utf-8")
        manifest = read_manifest(path, ColumnsConfig())
        assert manifest.labels and manifest.counts()["volumes"] == len(block.splitlines()) - 1, name
        assert manifest.text_paths is not None and manifest.counts()["patients"] > 1, name


def test_the_command_lines_table_names_every_verb() -> None:
    named = re.findall(r"^\| `([\w-]+)` \|", TEXTS["docs/command-line.md"], flags=re.MULTILINE)
    assert sorted(named) == sorted(VERBS)


def test_every_code_block_is_run_by_a_test_here() -> None:
    for name in TEXTS:
        kinds = set(re.findall(r"^```(\w+)$", TEXTS[name], flags=re.MULTILINE))
        shells = {"sh", "powershell"} if name == "README.md" else {"sh"}  # the README installs on Windows too
        assert kinds <= {*shells, "python", "yaml", "csv"}, name
        assert "yaml" not in kinds or name in (*GUIDES, "docs/moving-in.md"), name
        shell = [block for block in blocks(name, "sh") if not any(part in block for part in INSTALLATION)]
        assert not shell or name in (*COMMANDS, *GUIDES, CONVENTIONS), name
        assert not blocks(name, "python") or name in (*EXAMPLES, *GUIDES), name


def slug(heading: str) -> str:
    """Return the anchor that a heading gets: lower case, without punctuation, blanks as hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", TEXTS)
def test_links_and_anchors_have_targets(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", TEXTS[name]):
        path, _, anchor = target.partition("#")
        file = (PROJECT / name).parent / path if path else PROJECT / name
        assert file.exists(), f"{name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{name}: {target}"


def test_every_picture_is_made_by_the_script_and_shown() -> None:
    script = (PROJECT / "docs" / "screenshots.py").read_text(encoding="utf-8")
    made = set(re.findall(r'^    "([\w-]+)": \("', script, flags=re.MULTILINE))
    stored = {path.stem for path in (PROJECT / "docs" / "screenshots").glob("*.png")}
    assert stored == made
    for name in ("structure", "metrics", "data-formats", "command-line", "moving-in"):
        assert "](screenshots/" in TEXTS[f"docs/{name}.md"], name


def test_screenshots_open_tabs_that_pages_have() -> None:
    shots = runpy.run_path(str(PROJECT / "docs" / "screenshots.py"))["SHOTS"]
    tabs = [shot.tab for shot in shots if shot.tab is not None]
    assert tabs and all(name in TABS[place][1] for place, name in tabs)


def test_no_text_names_a_path_of_one_machine() -> None:
    for name, text in TEXTS.items():
        assert not re.search(r"/(home|root|Users|work)/", text), name
    assert json.dumps(TEXTS)  # plain text throughout
