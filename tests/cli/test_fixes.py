"""Wrong input of another lab: `check` names file, column and lines with fixes as overrides, and each works when followed."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.wrong_inputs import FIXED, WARNED

Cli = Callable[..., Any]


def places(data: Path) -> list[str]:
    return [f"paths.data_root={data / 'features'}", f"paths.manifest_dir={data / 'manifests'}"]


def followed(output: str) -> list[str]:
    """Return the overrides of the first fix that the output prints for each error."""
    lines = output.splitlines()
    first = [line for before, line in pairwise(lines) if line.startswith("  Fix:") and "  Fix:" not in before]
    return [word for line in first for word in shlex.split(line.removeprefix("  Fix:").rpartition("  (")[0])]


@pytest.mark.parametrize("case", FIXED)
def test_the_first_fix_of_each_error_works_when_followed(case: str, data: Path, cli: Cli) -> None:
    change, settings, named = FIXED[case]
    given = [f"{key}={value if isinstance(value, str) else f'[{value[0]}]'}" for key, value in settings.items()]
    change(data)
    result = cli("check", *places(data), *given)
    text = "\n".join(result.json["errors"])
    assert result.code == 2
    assert all(part in text for part in named), text
    fixes = followed(result.out)
    assert fixes
    keys = {word.partition("=")[0] for word in fixes}
    again = cli("check", *places(data), *(word for word in given if word.partition("=")[0] not in keys), *fixes)
    assert again.code == 0, again.json["errors"]


@pytest.mark.parametrize("case", WARNED)
def test_what_is_left_out_is_a_warning(case: str, data: Path, cli: Cli) -> None:
    change, named = WARNED[case]
    change(data)
    result = cli("check", *places(data))
    text = "\n".join(result.json["warnings"])
    assert result.code == 0
    assert all(part in text for part in named), text
