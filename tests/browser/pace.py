"""What a click costs beside a crowded run store, as the browser itself clocks it."""

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
from tests.browser.hands import Hands

PAGES = ("Data", "Train", "Runs", "Evaluate", "Alignment", "System", "Home")
TABS = ("Curves", "Threshold", "Volumes", "Findings")
SLIDES = ("ArrowRight", "ArrowRight", "ArrowLeft", "PageUp", "ArrowLeft", "PageDown")


def crowd(config: Config, runs: int, volumes: int, labels: list[str]) -> None:
    """Fill a run store with copies of one finished, evaluated run, and with one evaluation of many volumes."""
    made = Path(run_experiment(config)["run_dir"])
    evaluate_run(made)
    status = json.loads((made / "status.json").read_text(encoding="utf-8"))
    for number in range(1, runs):
        copy = made.with_name(f"20260101T{number // 60:02d}{number % 60:02d}00Z-{number:06x}")
        shutil.copytree(made, copy, ignore=shutil.ignore_patterns("checkpoints", ".lock"))
        (copy / "status.json").write_text(json.dumps(status | {"label": f"copy {number}"}), encoding="utf-8")
    _large(Path(config.paths.outputs_root), volumes, labels)


def _large(store: Path, volumes: int, labels: list[str]) -> None:
    """Store predictions of many volumes, two a patient, findings as rare as CT-RATE's."""
    draw = np.random.default_rng(5)
    frame = pd.DataFrame({"volumename": [f"large_{row // 2 + 1}_a_{row % 2 + 1}" for row in range(volumes)]})
    for place, label in enumerate(labels):
        frame[f"target_{label}"] = (draw.random(volumes) < 0.05 + 0.02 * place).astype(int)
        frame[f"prob_{label}"] = 1 / (1 + np.exp(-draw.normal(size=volumes) - 1.2 * frame[f"target_{label}"]))
    path = store / "large.parquet"
    frame.to_parquet(path)
    config = Config()
    config.paths.outputs_root, config.job_name = str(store), "score"
    score_table(path, ScoreOptions(name="large"), config)
    path.unlink()


@dataclass
class Pace:
    """Milliseconds by kind of action and what it aimed at, and the sizes of what the server sent.

    Attributes:
        times: to the frame that follows the whole answer.
        drawn: by kind, to the last change of the page: figures, and code loaded on a first visit, come after the answer.
    """

    times: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    drawn: dict[str, list[float]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def add(self, kind: str, target: str, milliseconds: float) -> None:
        """Note one action."""
        self.times.setdefault((kind, target), []).append(milliseconds)

    def of(self, kind: str) -> list[float]:
        """Return the milliseconds of a kind of action."""
        return [value for (name, _), values in self.times.items() if name == kind for value in values]

    def p95(self) -> dict[str, float]:
        """Return the 95th percentile of each kind of action."""
        kinds = dict.fromkeys(kind for kind, _ in self.times)
        return {kind: _p95(self.of(kind)) for kind in kinds}

    def undisturbed(self) -> dict[str, float]:
        """Return the 95th percentile of each kind over what it aimed at, of which the quickest time counts.

        Other work on the machine only ever adds: what is slow at its quickest is slow by itself.
        """
        best: dict[str, list[float]] = {}
        for (kind, _), values in self.times.items():
            best.setdefault(kind, []).append(min(values))
        return {kind: _p95(values) for kind, values in best.items()}

    def told(self) -> str:
        """Return a line a kind of action, with the slowest time of each thing it aimed at."""
        lines = []
        for kind, value in self.p95().items():
            slowest = {target: max(values) for (name, target), values in self.times.items() if name == kind}
            named = ", ".join(f"{target or 'all'} {most:.0f}" for target, most in slowest.items())
            median = statistics.median(self.of(kind))
            lines.append(f"{kind:20} p95 {value:4.0f} ms   median {median:4.0f}   slowest: {named}")
        return "\n".join(lines)


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def measure(user: Hands, rounds: int) -> Pace:
    """Walk through the app: pages, the filter of Runs, the tabs of Evaluate and its slider; time every answer.

    The very first visit, which reads every run, is not counted.
    """
    pace = Pace()
    begin(user, pace)
    for _ in range(rounds):
        walk(user, pace)
    return pace


def begin(user: Hands, pace: Pace) -> None:
    """Visit every page once, and note from then on what the server sends."""
    user.page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: pace.sizes.append(len(frame))))
    user.go()
    for name in PAGES:
        user.turn(name)


def walk(user: Hands, pace: Pace) -> None:
    """Do everything once, timed."""
    pace.add("first paint", "Home", _paint(user))
    for name in PAGES:
        clock(user, pace, "page change", name, user.turn)
    user.turn("Runs")
    for words in ("copy 7", "copy 49", "nothing has this", ""):
        clock(user, pace, "filter", words, lambda words: user.fill("runs.filter", words))
    user.turn("Evaluate")
    for tab in TABS:
        clock(user, pace, "tab", tab, user.open_tab)
    user.open_tab("Threshold")
    slider = user.page.locator(".st-key-threshold input[type=range]")
    for key in SLIDES:
        clock(user, pace, "slider", key, lambda key: user.answered(lambda: slider.press(key)))


def clock(user: Hands, pace: Pace, kind: str, target: str, act: Callable[[str], Any]) -> None:
    """Act on a target, and note the milliseconds from the press to the page at rest."""
    act(target)
    user.page.wait_for_function("window.ctbench.isAtRest()")
    shown, drawn = user.page.evaluate("[ctbench.shownAt, ctbench.drawnAt()].map((at) => at - ctbench.pressedAt)")
    pace.add(kind, target, shown)
    pace.drawn.setdefault(kind, []).append(drawn)


def _paint(user: Hands) -> float:
    """Open Home anew; return the milliseconds from the start of the navigation to its whole picture."""
    user.page.goto("about:blank")
    user.go()
    user.page.wait_for_function("window.ctbench.isAtRest()")
    return float(user.page.evaluate("window.ctbench.drawnAt()"))
