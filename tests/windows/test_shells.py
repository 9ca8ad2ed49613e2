"""Every command that the app and the docs show means the same in bash and in PowerShell.

`powershell` and `windows_words` follow Microsoft's about_Parsing, about_Quoting_Rules and the rules of Windows' C
runtime; there is no PowerShell on the machines of the suite.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config, set_key
from ctbench_core.overrides import BASH, POWERSHELL, commands, quote_word, to_command, to_overrides
from tests.test_overrides import STRINGS

PROJECT = Path(__file__).resolve().parents[2]
SINGLE, DOUBLE = "'\u2018\u2019\u201a\u201b", '"\u201c\u201d\u201e'
LEGACY = "$PSNativeCommandArgumentPassing = 'Legacy'; "
# Outside quotes these end a word, begin an expression, or are operators.
SPECIAL = set("`$(){}[]<>|&;,@#%")


def powershell(line: str) -> list[str]:
    """Split a command line as PowerShell does; what it would take for more than words is an error."""
    words: list[str] = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        word = ""
        while at < len(line) and not line[at].isspace():
            if line[at] in SINGLE + DOUBLE:
                part, at = _quoted(line, at)
                word += part
                continue
            if line[at] in SPECIAL:
                raise ValueError(f"{line[at]!r} is not part of a word: {line!r}")
            word, at = word + line[at], at + 1
        words.append(word)
    return words


def _quoted(line: str, at: int) -> tuple[str, int]:
    """Return the text between quotes, doubled ones as one, and where the line goes on."""
    quotes = SINGLE if line[at] in SINGLE else DOUBLE
    text, at = "", at + 1
    while at < len(line):
        if line[at] in quotes:
            if line[at + 1 : at + 2] not in tuple(quotes):
                return text, at + 1
            text, at = text + line[at], at + 2
            continue
        if quotes == DOUBLE and line[at] in "$`":
            raise ValueError(f"{line[at]!r} is replaced in double quotes: {line!r}")
        text, at = text + line[at], at + 1
    raise ValueError(f"a quote is not closed: {line!r}")


def passed_on(words: list[str]) -> str:
    """Join words as PowerShell 5 does for a program: those with blanks in quotes, all else as it is."""
    return " ".join(f'"{word}"' if re.search(r"\s", word) else word for word in words)


def windows_words(line: str) -> list[str]:
    """Split a command line as the C runtime of Windows does."""
    words: list[str] = []
    word, in_quotes, begun = "", False, False
    for backslashes, quote, blank, other in re.findall(r'(\\*)(?:(")|(\s)|([^\\"\s]|\Z))', line):
        literal = backslashes if not quote else "\\" * (len(backslashes) // 2)
        word, begun = word + literal, begun or bool(backslashes)
        if quote and len(backslashes) % 2:
            word, begun = word + '"', True
        elif quote:
            in_quotes, begun = not in_quotes, True
        elif blank and not in_quotes:
            words, word, begun = ([*words, word] if begun else words), "", False
        else:
            word, begun = word + blank + other, begun or bool(blank + other)
    return [*words, word] if begun else words


def test_the_splitters_follow_the_rules_of_microsoft() -> None:
    """Examples of Microsoft's pages."""
    assert powershell("a 'it''s' \"two words\" b=c") == ["a", "it's", "two words", "b=c"]
    for refused in ("a=[1,2]", "x(1)", "$HOME", "a;b", '"$x"', "'open", "a,b", "run=<id>"):
        with pytest.raises(ValueError, match=r"not part of a word|replaced|not closed"):
            powershell(refused)
    assert windows_words('"a b c" d e') == ["a b c", "d", "e"]
    assert windows_words(r'"ab\"c" "\\" d') == ['ab"c', "\\", "d"]
    assert windows_words(r'a\\\b d"e f"g h') == [r"a\\\b", "de fg", "h"]
    assert windows_words(r"a\\\"b c d") == [r"a\"b", "c", "d"]
    assert windows_words(r'a\\\\"b c" d e') == [r"a\\b c", "d", "e"]


def read_by_program(command: str) -> list[str]:
    return windows_words(passed_on(powershell(command.removeprefix(LEGACY))))


@pytest.mark.parametrize("text", [*STRINGS, "it\u2019s \u201cso\u201d", 'a\\"b c\\', "x`n", "100%", "a\\\\ b\\\\"])
def test_every_text_passes_both_shells(text: str) -> None:
    word = f"logging.notes={text}"
    assert read_by_program(quote_word(word, POWERSHELL)) == [word]
    assert shlex.split(quote_word(word, BASH)) == [word]


KEYS: list[dict[str, Any]] = [
    {},
    {"paths.data_root": "data/demo/features", "training.learning_rate": 1e-3},
    {"paths.data_root": "C:\\my data\\", "data.test_manifests": ["a b.csv", "c.csv"]},
    {
        "data.columns.labels": ["Lung nodule", "Zw\u0142\u00f3knienie \u2192 \u80ba"],
        "model.params.hidden_dims": [64, 8],
    },
    {"data.labels.rename": {"Lung opacity (mild)": "it's", "x": 'a "b"'}},
    {"logging.run_name": "50 % $HOME `x` 'y' \u2018z\u2019"},
]


@pytest.mark.parametrize("keys", KEYS, ids=lambda keys: "+".join(keys) or "defaults")
def test_the_shown_command_gives_the_same_words_in_both_shells(keys: dict[str, Any]) -> None:
    config = Config()
    for key, value in keys.items():
        set_key(config, key, value)
    expected = ["python", "-m", "ctbench_core", "train", *to_overrides(config, places=False)]
    assert read_by_program(to_command(config, shell=POWERSHELL)) == expected
    assert shlex.split(to_command(config, shell=BASH)) == expected
    forms = commands(config)
    assert set(forms) <= {BASH, POWERSHELL} and len(set(forms.values())) == len(forms)
    assert POWERSHELL in forms or forms[BASH] == to_command(config, shell=POWERSHELL)


def _documented() -> list[str]:
    """Return every command of README and docs: lines of code blocks, and code within a line."""
    found: list[str] = []
    for path in [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")), PROJECT / "examples" / "README.md"]:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()]
        lines += re.findall(
            r"`(python -m ctbench_core (?!VERB)[^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        )
        found += [line for line in lines if line.startswith("python -m ctbench_core")]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("command", _documented())
def test_documented_commands_are_the_same_in_both_shells(command: str) -> None:
    filled = re.sub(r"<[^<>]*>", "x", command)  # a placeholder
    assert powershell(filled) == shlex.split(filled)


def test_all_documented_commands_are_found() -> None:
    assert len(_documented()) > 40
