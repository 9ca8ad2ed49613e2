"""Complete the documentation site while MkDocs builds it: pages made from the code, and files from beside docs/.

Links stay as they are in the repository, where they lead to files; here they are turned to pages of the site.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from docs import notebook_page, reference  # noqa: E402

# Page of the site: the file of the repository that it shows.
FILES = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "judging.md": "benchmarks/coverage/judging.md",
}
NOTEBOOK = "examples/demo.ipynb"
ICON = "ctbench_ui/icon.png"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    pages: dict[str, str | bytes] = {
        "reference/keys.md": reference.keys_page(),
        "reference/verbs.md": reference.verbs_page(),
        "reference/python.md": reference.python_page(),
        "icon.png": (PROJECT / ICON).read_bytes(),
        **{page: (PROJECT / path).read_text(encoding="utf-8") for page, path in FILES.items()},
        **notebook_page.make_pages(),
    }
    for place, content in pages.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the links of a page from files of the repository to pages of the site."""
    place = page.file.src_uri
    source = FILES.get(place, f"docs/{place}")
    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _turn(part, source, place) for part in parts)


def _turn(text: str, source: str, place: str) -> str:
    pages = {path: page for page, path in FILES.items()} | {NOTEBOOK: "notebook.md"}

    def turned(match: re.Match[str]) -> str:
        picture, title, link = match.groups()
        if re.match(r"\w+:|#", link):
            return match[0]
        path, hash_, anchor = link.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if target.startswith("docs/"):
            target = target.removeprefix("docs/")
        elif target in pages:
            target = pages[target]
        else:  # code: the site does not show it
            return title
        return f"{picture}[{title}]({posixpath.relpath(target, posixpath.dirname(place) or '.')}{hash_}{anchor})"

    return _LINK.sub(turned, text)
