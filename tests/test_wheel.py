"""The wheel is the whole product: files, reference data and settings as in the clone, and the app answers from any folder."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
import tomllib
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from packaging.requirements import Requirement

from ctbench_core.compare import published_frame
from ctbench_core.installation import reference_folder, source_tree
from ctbench_core.manifest import label_map
from tests.browser.app_server import free_port

pytest.importorskip(
    "hatchling", reason="hatchling, which builds the wheel, is not installed (requirements.txt names it)"
)

PROJECT = Path(__file__).resolve().parents[1]
LABELS = [f"finding {number}" for number in range(18)]
START_S = 60
# Run in the installed package: what it reads of its own files.
READ = """
import json, sys
from ctbench_core.compare import published_frame
from ctbench_core.doctor.machine import _requirements
from ctbench_core.installation import source_tree
from ctbench_core.manifest import label_map
from ctbench_ui import launch
labels = [f"finding {number}" for number in range(18)]
frames = [published_frame(metric, labels, 3039, "visual") for metric in ("auroc", "f1_macro", "auprc")]
rows = [frame.to_json(orient="records") for frame in frames]
map_ = label_map("@ctrate-to-radchestct")
print(json.dumps([str(source_tree()), launch.__file__, rows, map_.digest, launch._settings(), _requirements()[1]]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """Install the wheel into a folder of its own; its dependencies are those of the tests."""
    target = wheel.parent / "installed"
    options = ["--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(wheel)], check=True)
    return target


@pytest.fixture
def environment(installed: Path) -> dict[str, str]:
    """Return variables with which Python finds the installed package, and not the clone."""
    return {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    packages = [path for name in ("ctbench_core", "ctbench_ui") for path in (PROJECT / name).rglob("*")]
    ours = {
        path.relative_to(PROJECT).as_posix() for path in packages if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours <= held
    reference = PROJECT / "data" / "reference"
    data = {path.relative_to(reference).as_posix() for path in reference.rglob("*") if path.is_file()}
    added = held - ours - {name for name in held if ".dist-info/" in name}
    assert added == {*(f"ctbench_core/reference/{name}" for name in data), "ctbench_ui/streamlit.toml"}


def test_the_metadata_part_core_and_app(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        metadata = archive.read(name).decode("utf-8")
    required = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*(?:; extra == '(\w+)')?$", metadata, re.MULTILINE)
    extras = {extra: {name for name, other in required if other == extra} for _, extra in required}
    assert extras["app"] == {"streamlit", "plotly"}
    assert extras["app"].isdisjoint(extras[""])
    assert {"", "app", "cluster", "remote", "h5", "wandb", "mlflow", "tensorboard", "dev"} <= set(extras)


def test_wheel_and_clone_read_the_same_data_and_settings(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", READ]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    tree, file, rows, digest, settings, required = json.loads(ended.stdout)
    assert (tree, PROJECT in Path(file).parents) == ("None", False)
    frames = [pd.read_json(io.StringIO(text)) for text in rows]
    here = [published_frame(metric, LABELS, 3039, "visual") for metric in ("auroc", "f1_macro", "auprc")]
    assert [len(frame) for frame in frames] == [len(frame) for frame in here]
    assert len(frames[0]) == 20
    for frame, own in zip(frames, here):
        pd.testing.assert_frame_equal(frame, pd.read_json(io.StringIO(own.to_json(orient="records"))))
    assert digest == label_map("@ctrate-to-radchestct").digest
    config = tomllib.loads((PROJECT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert settings["server.address"] == config["server"]["address"] == "127.0.0.1"
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*declared["dependencies"], *declared["optional-dependencies"]["app"]]
    assert {Requirement(line) for line in required} == {Requirement(line) for line in lines}  # what `doctor` checks
    assert settings["theme.dark.primaryColor"] == config["theme"]["dark"]["primaryColor"]


def test_the_clone_reads_its_own_folders() -> None:
    assert source_tree() == PROJECT
    assert reference_folder() == PROJECT / "data" / "reference"


@pytest.fixture
def start(
    installed: Path, environment: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a starter of the installed ``ctbench`` in an empty folder; none outlives the test."""
    started: list[subprocess.Popen[str]] = []
    program = next(path for name in ("ctbench", "ctbench.exe") if (path := installed / "bin" / name).is_file())

    def run(*arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [program, *arguments], cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_app_answers_from_any_folder(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    port = free_port()
    server = start("app", "--no-browser", "--port", str(port))
    deadline = time.monotonic() + START_S
    while not _answers(port):
        assert server.poll() is None, server.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.terminate()
    output, error = server.communicate(timeout=START_S)
    assert f"ctbench: http://127.0.0.1:{port}\nRun store: {tmp_path / 'outputs'}" in output
    assert not error


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
