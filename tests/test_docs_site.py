"""The documentation site builds without a warning, its links lead somewhere, and its reference is complete."""

from __future__ import annotations

import html
import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

import ctbench_core
import ctbench_core.api as ct
from ctbench_core.cli.verbs import VERBS
from ctbench_core.config import KEYS

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the pages of the site by their place."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    ended = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "WARNING" not in ended.stderr, ended.stderr
    pages = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {place: path.read_text(encoding="utf-8") if path.suffix == ".html" else "" for place, path in pages.items()}


def _text(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page))


def test_links_pictures_and_anchors_have_targets(site: dict[str, str]) -> None:
    ids = {place: set(re.findall(r'\sid="([^"]+)"', page)) for place, page in site.items()}
    count = 0
    for place, page in site.items():
        if place == "404.html":  # its links start at the root of a server
            continue
        for link in re.findall(r'\s(?:href|src)="([^"]+)"', page):
            if re.match(r"\w+:", link):
                continue
            path, _, anchor = unquote(html.unescape(link)).partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(place), path)) if path else place
            target = "index.html" if target == "." else target
            assert target in site, f"{place}: {link}"
            assert not anchor or not target.endswith(".html") or anchor in ids[target], f"{place}: {link}"
            count += 1
    assert count > 1000


def test_pages_load_nothing_from_elsewhere(site: dict[str, str]) -> None:
    for place, page in site.items():
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page)
        assert not [link for link in loaded if not link.startswith("http://localhost")], place


def test_the_reference_has_every_key_verb_and_name(site: dict[str, str]) -> None:
    keys, verbs, python = (_text(site[f"reference/{name}.html"]) for name in ("keys", "verbs", "python"))
    assert [name for name in KEYS if name not in keys] == []
    assert all(info.help in keys for info in KEYS.values())
    assert [name for name in VERBS if f"python -m ctbench_core {name}" not in verbs] == []
    assert [name for name in (*ct.__all__, *ctbench_core.__all__) if name not in python] == []
    assert " at 0x" not in python
    members = [name for kind in (ct.EvaluationReport, ct.DataReport) for name in vars(kind) if not name.startswith("_")]
    assert len(members) > 10
    assert [name for name in members if name not in python] == []


def test_the_notebook_and_the_files_beside_the_docs_are_pages(site: dict[str, str]) -> None:
    assert len(re.findall(r'src="notebook-pictures/', site["notebook.html"])) == 7
    assert "Macro mean" in _text(site["notebook.html"])
    assert "How to add" in _text(site["contributing.html"])
    assert 'href="contributing.html"' in site["structure.html"]
    assert not [place for place in site if place.endswith((".py", ".md"))]
