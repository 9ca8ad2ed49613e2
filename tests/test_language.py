"""Screen, messages, docs and docstrings speak the field's plain English: the phrases below are not used.

CONTRIBUTING.md has the rules. A phrase may stand where it is a name that cannot change; `EXCEPTIONS` says where.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

# Private vocabulary, as regular expressions over whole words.
PHRASES = (
    r"anew",
    r"(is|are|was|were|be) told",
    r"tells?",
    r"whoever",
    r"outgrown",
    r"to mend",
    r"mends?",
    r"stands? more than once",
    r"climbs? out",
    r"is no (folder|directory)",
    r"laid over",
    r"in good order",
    r"works? off",
    r"taken? in",
    r"troubles?",
    r"good to know",
    r"lately",
    r"beside another",
    r"look for (yourself|it)",
    r"of the usual names",
    r"opened on test",
    r"open(s|ed|ing)? (a|the|its|their) test sets?",
    r"never divided",
    r"weight of positives",
    r"name of the run",
    r"epochs, at most",
    r"less test",
    r"what if",
)

# Texts of the first screens that were replaced, word for word.
SCREEN = (
    "who comes from",
    "The demo data are random vectors",
    "No test set opened yet",
    "Choose on validation, open a test set once",
    "Open a test set",
    "3 · Look",
    "Since your last visit",
    "Set up a head",
    "Good to know",
    "Decided for you",
    "File of volumes to leave out",
    "values a feature",
    "1 feature files",
    "Stops on",
    "Arithmetic",
    "BCE (while weighted)",
    "from the settings",
    "to learn from",
    "to choose the epoch by",
    "The same on the command line",
    "At work",
    "Bring in",
    "passes these filters",
    "budget default",
    "Work out the rest",
    "F less M",
    "each called by the threshold",
    "How good with how many labels",
    "Which features hold most",
    "Does a deeper head pay",
    "One more axis",
    "its protocol says so",
    "bank at work",
    "ahead with few",
    "ahead with many",
    "Error of patients",
    "Error of seeds",
    "A hit is of the same",
    "Skip normal",
    "count by expectation",
    "chance stands beside",
    "looks at the same",
)

# (file, phrase): names that cannot change, with the reason.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def _texts(path: Path) -> list[tuple[int, str]]:
    """Return the string literals of a Python file, or the lines of a Markdown file, with their line numbers."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return list(enumerate(text.splitlines(), 1))
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    return [(node.lineno, node.value) for node in nodes if isinstance(node.value, str)]


def _files() -> list[str]:
    patterns = (
        "ctbench_core/**/*.py",
        "ctbench_ui/**/*.py",
        "pages/*.py",
        "app.py",
        "docs/**/*.md",
        "data/*.md",
        "*.md",
    )
    paths = [path for pattern in patterns for path in PROJECT.glob(pattern)]
    return sorted(path.relative_to(PROJECT).as_posix() for path in paths if path.name != "CHANGELOG.md")


@pytest.mark.parametrize("name", _files())
def test_no_private_vocabulary(name: str) -> None:
    used = [
        f"{name}:{line}: {match.group(0)!r}"
        for line, text in _texts(PROJECT / name)
        for phrase in PHRASES
        if (name, phrase) not in EXCEPTIONS
        for match in re.finditer(rf"\b{phrase}\b", text, re.IGNORECASE)
    ]
    assert not used, "\n".join(used)


@pytest.mark.parametrize("name", [name for name in _files() if name.endswith(".py")])
def test_no_replaced_screen_text(name: str) -> None:
    used = [
        f"{name}:{line}: {phrase!r}"
        for line, text in _texts(PROJECT / name)
        for phrase in SCREEN
        if (name, phrase) not in EXCEPTIONS and re.search(rf"(?<![\w-]){re.escape(phrase)}(?![\w-])", text)
    ]
    assert not used, "\n".join(used)


def test_exceptions_are_still_needed() -> None:
    unused = [
        key
        for key in EXCEPTIONS
        if not any(re.search(key[1], text, re.IGNORECASE) for _, text in _texts(PROJECT / key[0]))
    ]
    assert not unused
