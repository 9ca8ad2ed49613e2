"""Let browsers and jobs use one server for long, and see that its memory, handles and threads do not grow.

    python -m benchmarks.soak [minutes] [seed] [--browsers 5] [--log samples.jsonl]
    python -m benchmarks.soak [minutes] [seed] --plain 20

The server trains runs and studies all the time, one after the other, and keeps the newest twelve runs. Browsers
(Chromium) go from page to page; plain sessions speak the protocol of the pages without a browser, and measure how much
they slow a training down. The first tenth of the time (ten minutes at most, two at least) is left out, since caches fill.
Verdict, of the last quarter of the rest beside its first: memory flat within 10 %, the fewest handles and threads too, no
error in the log; of plain sessions no error, and trainings slowed by under 20 %. A form of less than ten minutes, as CI
runs it, is judged by errors alone: caches still fill. Sessions of closed tabs are kept for ten seconds here, two minutes
otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctbench_core.demo import write_demo
from ctbench_core.runs import active_runs
from tests.browser.app_server import AppServer, serve_app

PAGES = ("", "data", "train", "runs", "evaluate", "compare", "studies", "alignment", "system")
SAMPLE_S, WORK_S = 5.0, 1.0
REST_VISITS, REST_S = 100, 12.0  # the browsers rest, so that samples of every quarter see the server draw no page
WARM_S = (130.0, 600.0)  # at least, at most
EPOCHS = 400
GROWTH, SLOWER = 0.10, 0.20
PATIENCE_MS = 300_000
KEPT_S = 10  # the sessions of closed tabs: three handles each, and more of them where pages are visited faster
JUDGED_MINUTES = 10  # growth is judged from here on
_WRONG = "Traceback", "ERROR", "Error"


@dataclass
class Soak:
    """What happened: samples of (seconds, what the server holds), page visits, and errors of sessions."""

    samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    visits: int = 0
    errors: list[str] = field(default_factory=list)
    jobs: int = 0

    def faults(self, log: str) -> list[str]:
        """Return the errors of sessions and of the log."""
        faults = [f"session: {error}" for error in self.errors[:5]]
        return faults + [f"log: {line}" for line in log.splitlines() if any(word in line for word in _WRONG)][:5]

    def growth(self, warm_s: float) -> list[str]:
        """Return what has grown after some seconds."""
        faults = []
        steady = [held for second, held in self.samples if second >= warm_s]
        part = max(1, len(steady) // 4)
        for name in steady[0]:
            typical = statistics.median if name == "memory" else min
            first, last = (typical([held[name] for held in some]) for some in (steady[:part], steady[-part:]))
            spread = f"{min(held[name] for held in steady):.0f} to {max(held[name] for held in steady):.0f}"
            print(f"{name}: first quarter {first:.1f}, last quarter {last:.1f}, {spread} ({len(steady)} samples)")
            if last > (1 + GROWTH) * first:
                faults.append(f"{name} grew from {first:.1f} to {last:.1f}")
        return faults


def _ask(server: AppServer, address: str, post: bool = False) -> Any:
    request = urllib.request.Request(f"{server.url}/{address}", method="POST" if post else "GET")
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def _repeat(ended: threading.Event, every_s: float, action: Callable[[], object]) -> threading.Thread:
    def loop() -> None:
        while not ended.wait(every_s):
            action()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return thread


def browse(server: AppServer, browsers: int, until: float, soak: Soak, draw: random.Random) -> None:
    """Let browsers go from page to page, one after the other; each page lives until its browser's next turn."""
    from tests.browser.app_server import launch_browser
    from tests.browser.browser_user import BrowserUser, sync_api

    with sync_api.sync_playwright() as playwright:
        browser = launch_browser(playwright)
        contexts = [browser.new_context() for _ in range(browsers)]
        users = [BrowserUser(context, server.url) for context in contexts]
        for context in contexts:
            context.set_default_timeout(PATIENCE_MS)  # slow pages are measured elsewhere; the machine may be busy
        for user in users:
            user.go("train")
        while time.monotonic() < until:
            for user in users:
                address = draw.choice(PAGES[1:])
                if soak.visits % 7 == 0:
                    user.go(address)  # as a new tab
                else:
                    user.navigate(address)
                if user.page.locator("[data-testid=stException]").count():
                    soak.errors.append(f"{address} shows an exception")
                soak.visits += 1
                time.sleep(draw.uniform(0.2, 1.5))
                if soak.visits % REST_VISITS == 0:
                    time.sleep(REST_S)
        browser.close()


async def _plain_session(server: AppServer, until: float, soak: Soak, draw: random.Random) -> None:
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from websockets.asyncio.client import connect

    address = server.url.replace("http", "ws", 1) + "/_stcore/stream"
    async with connect(address, origin=server.url, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[arg-type]
        while time.monotonic() < until:
            page = draw.choice(PAGES)
            message = BackMsg()
            message.rerun_script.page_name = page
            await socket.send(message.SerializeToString())
            async with asyncio.timeout(60):
                while True:
                    answer = ForwardMsg.FromString(await socket.recv(decode=False))
                    if answer.delta.new_element.WhichOneof("type") == "exception":
                        soak.errors.append(f"/{page}: {answer.delta.new_element.exception.message}")
                    if answer.WhichOneof("type") == "script_finished":
                        break
            soak.visits += 1
            await asyncio.sleep(draw.uniform(1, 3))


def _rate(server: AppServer, seconds: float) -> float:
    """Return the epochs a second of the trainings over some time."""
    done, before = 0, dict[Path, int]()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for run, status in active_runs(server.store).items():
            if status.state == "running":
                done += max(0, status.epoch - before.get(run, status.epoch))
                before[run] = status.epoch
        time.sleep(0.2)
    return done / seconds


def plain(server: AppServer, sessions: int, until: float, soak: Soak, seed: int) -> None:
    """Let plain sessions draw pages."""

    async def all_of_them() -> None:
        some = [_plain_session(server, until, soak, random.Random(seed + place)) for place in range(sessions)]
        for error in await asyncio.gather(*some, return_exceptions=True):
            if error is not None:
                soak.errors.append(f"{type(error).__name__}: {error}")

    asyncio.run(all_of_them())


def measure(
    folder: Path, minutes: float, seed: int, browsers: int, sessions: int, log_file: Path | None = None
) -> list[str]:
    """Run the server for some minutes; return what breaks the rules.

    Args:
        log_file: receives each sample as a JSON line.
    """
    draw, soak, ended = random.Random(seed), Soak(), threading.Event()
    write_demo(folder / "demo")
    with serve_app(folder, f"--server.disconnectedSessionTTL={KEPT_S}", script="benchmarks/soak_app.py") as server:
        started = time.monotonic()
        until = started + 60 * minutes

        def work() -> None:
            # Of plain sessions one long training is measured.
            kind = "&study" if soak.jobs % 3 == 2 and not sessions else ""
            epochs = EPOCHS if not sessions else 100_000
            queued = _ask(server, f"soak-work?epochs={epochs}&seed={seed + 10 * soak.jobs}{kind}", post=True)["queued"]
            soak.jobs += queued

        def sample() -> None:
            held = _ask(server, "soak-held")
            soak.samples.append((time.monotonic() - started, held["figures"]))
            if log_file is not None:
                with log_file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([*soak.samples[-1], held["threads"], held["parts"]]) + "\n")

        threads = [_repeat(ended, WORK_S, work), _repeat(ended, SAMPLE_S, sample)]
        alone = with_sessions = 0.0
        if browsers:
            browse(server, browsers, until, soak, draw)
        if sessions:
            while not _rate(server, 1):
                pass
            alone, until = _rate(server, 30), time.monotonic() + 60 * minutes
            visitors = threading.Thread(target=plain, args=(server, sessions, until, soak, seed))
            visitors.start()
            with_sessions = _rate(server, 60 * minutes - 5)
            visitors.join()
        ended.set()
        for thread in threads:
            thread.join()
        log = server.log.read_text(encoding="utf-8")
        # Said here, since the end of the server raises where it wrote a traceback.
        print(f"{soak.jobs} jobs queued, {soak.visits:,} page visits, {len(soak.errors)} errors of sessions")
        faults = soak.faults(log)
        faults += [] if soak.jobs and soak.visits else ["nothing was trained or visited"]
        if browsers and minutes >= JUDGED_MINUTES:
            faults += soak.growth(min(max(WARM_S[0], 6 * minutes), WARM_S[1]))
        if sessions:
            slower = 1 - with_sessions / alone
            print(
                f"epochs a second: alone {alone:.1f}, with {sessions} sessions {with_sessions:.1f} ({slower:.0%} slower)"
            )
            faults += [f"trainings are {slower:.0%} slower"] if slower > SLOWER else []
    return faults


def main() -> None:
    """Run one form and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, nargs="?", default=120.0)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--browsers", type=int, default=5)
    parser.add_argument("--plain", type=int, default=0)
    parser.add_argument(
        "--log", type=Path, help="file for the samples, names of threads and parts of the memory, a JSON line each"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = measure(
            Path(folder),
            options.minutes,
            options.seed,
            0 if options.plain else options.browsers,
            options.plain,
            options.log,
        )
    short = options.minutes < JUDGED_MINUTES or options.plain
    print("\n".join(faults) or ("without errors" if short else "flat, and without errors"))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
