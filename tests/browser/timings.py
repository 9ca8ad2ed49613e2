"""Time clicks in the browser on a large run store."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.config import Config
from ctbench_core.evaluate import ScoreOptions, evaluate_run, score_table
from ctbench_core.experiment import run_experiment
from tests.browser.browser_user import BrowserUser

PAGES = ("data", "train", "runs", "evaluate", "alignment", "system", "")
TABS = ("curves", "threshold", "volumes", "findings")
FILTERS = ("copy 7", "copy 49", "nothing has this", "")
SLIDER_KEYS = ("ArrowRight", "ArrowRight", "ArrowLeft", "PageUp", "ArrowLeft", "PageDown")


def write_large_store(config: Config, runs: int, volumes: int, labels: list[str]) -> None:
    """Write copies of one finished, evaluated run, and one evaluation of many volumes."""
    original = Path(run_experiment(config)["run_dir"])
    evaluate_run(original)
    status = json.loads((original / "status.json").read_text(encoding="utf-8"))
    for number in range(1, runs):
        copy = original.with_name(f"20260101T{number // 60:02d}{number % 60:02d}00Z-{number:06x}")
        shutil.copytree(original, copy, ignore=shutil.ignore_patterns("checkpoints", ".lock"))
        (copy / "status.json").write_text(json.dumps(status | {"label": f"copy {number}"}), encoding="utf-8")
    _write_large_evaluation(Path(config.paths.outputs_root), volumes, labels)


def _write_large_evaluation(store: Path, volumes: int, labels: list[str]) -> None:
    """Store predictions of many volumes, two a patient, with findings about as rare as CT-RATE's."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"volumename": [f"large_{row // 2 + 1}_a_{row % 2 + 1}" for row in range(volumes)]})
    for place, label in enumerate(labels):
        frame[f"target_{label}"] = (rng.random(volumes) < 0.05 + 0.02 * place).astype(int)
        frame[f"prob_{label}"] = 1 / (1 + np.exp(-rng.normal(size=volumes) - 1.2 * frame[f"target_{label}"]))
    path = store / "large.parquet"
    frame.to_parquet(path)
    config = Config()
    config.paths.outputs_root, config.job_name = str(store), "score"
    score_table(path, ScoreOptions(name="large"), config)
    path.unlink()


@dataclass
class Timings:
    """Milliseconds by kind of action and target, and the sizes of the server's messages.

    Attributes:
        times: from the action to the first frame after the complete answer.
        drawn: by kind, from the action to the last change of the page. Charts, and code that is loaded on a first
            visit, come after the answer.
    """

    times: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    drawn: dict[str, list[float]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def add(self, kind: str, target: str, milliseconds: float) -> None:
        """Add the time of one action."""
        self.times.setdefault((kind, target), []).append(milliseconds)

    def watch_messages(self, user: BrowserUser) -> None:
        """Record the size of every message that the server sends from now on."""
        user.page.on("websocket", lambda ws: ws.on("framereceived", lambda frame: self.sizes.append(len(frame))))

    def of_kind(self, kind: str) -> list[float]:
        """Return all times of a kind of action."""
        return [value for (name, _), values in self.times.items() if name == kind for value in values]

    def all_times(self) -> list[float]:
        """Return the times of all actions."""
        return [value for values in self.times.values() for value in values]

    def p95(self) -> dict[str, float]:
        """Return the 95th percentile of each kind of action."""
        kinds = dict.fromkeys(kind for kind, _ in self.times)
        return {kind: p95(self.of_kind(kind)) for kind in kinds}

    def best_p95(self) -> dict[str, float]:
        """Return the 95th percentile of each kind over its targets, each counted by its quickest time.

        Other work on the machine only adds time: a target that is slow at its quickest is slow by itself.
        """
        best: dict[str, list[float]] = {}
        for (kind, _), values in self.times.items():
            best.setdefault(kind, []).append(min(values))
        return {kind: p95(values) for kind, values in best.items()}

    def summary(self) -> str:
        """Return one line for each kind of action, with the slowest time of each target."""
        lines = []
        for kind, value in self.p95().items():
            slowest = {target: max(values) for (name, target), values in self.times.items() if name == kind}
            targets = ", ".join(f"{target or 'all'} {most:.0f}" for target, most in slowest.items())
            median = statistics.median(self.of_kind(kind))
            lines.append(f"{kind:20} p95 {value:4.0f} ms   median {median:4.0f}   slowest: {targets}")
        return "\n".join(lines)


def p95(values: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def measure(user: BrowserUser, rounds: int) -> Timings:
    """Time every action of some walks through the app.

    The first visit to each page, which reads every run, is not counted.
    """
    timings = Timings()
    visit_pages(user, timings)
    for _ in range(rounds):
        walk(user, timings)
    return timings


def visit_pages(user: BrowserUser, timings: Timings) -> None:
    """Visit every page once, and record the sizes of messages from then on."""
    timings.watch_messages(user)
    user.go()
    for address in PAGES:
        user.navigate(address)


def walk(user: BrowserUser, timings: Timings) -> None:
    """Time one walk: all pages, the filter of Runs, the tabs of Evaluate, and its slider."""
    timings.add("first paint", "home", _first_paint(user))
    for address in PAGES:
        time_action(user, timings, "page change", address or "home", lambda address=address: user.navigate(address))
    user.navigate("runs")
    for text in FILTERS:
        time_action(user, timings, "filter", text, lambda text=text: user.fill("runs.filter", text))
    user.navigate("evaluate")
    for tab in TABS:
        time_action(user, timings, "tab", tab, lambda tab=tab: user.open_tab("evaluate", tab))
    user.open_tab("evaluate", "threshold")
    time_slider(user, timings, SLIDER_KEYS)


def time_slider(user: BrowserUser, timings: Timings, keys: tuple[str, ...]) -> None:
    """Time moves of the threshold's slider."""
    slider = user.slider("threshold")
    for key in keys:
        time_action(user, timings, "slider", key, lambda key=key: user.act(lambda: slider.press(key)))


def time_action(user: BrowserUser, timings: Timings, kind: str, target: str, action: Callable[[], Any]) -> None:
    """Add the milliseconds from an action to the page at rest."""
    action()
    user.page.wait_for_function("window.ctbench.isAtRest()")
    shown, drawn = user.page.evaluate("[ctbench.shownAt, ctbench.drawnAt()].map((at) => at - ctbench.pressedAt)")
    timings.add(kind, target, shown)
    timings.drawn.setdefault(kind, []).append(drawn)


def _first_paint(user: BrowserUser) -> float:
    """Load Home in an empty tab; return the milliseconds from the start of the navigation to the complete page."""
    user.page.goto("about:blank")
    user.go()
    user.page.wait_for_function("window.ctbench.isAtRest()")
    return float(user.page.evaluate("window.ctbench.drawnAt()"))
