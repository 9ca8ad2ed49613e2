"""Convert and check values that people write: config keys, and the options of verbs, studies and searches.

Values come from YAML, an override or a form: ``"64"``, ``64.0`` and ``64`` are one whole number. What would lose
something (2.5 as a whole number, a list as text) is an error that names the key and what was expected.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from ctbench_core.errors import ConfigError, unknown_name

T = TypeVar("T")

_RELATIONS = {"low": "at least", "high": "at most", "above": "above", "below": "below"}
_NOUNS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    Any: "a value",
}


def convert(name: str, value: Any, annotation: Any, bounds: Mapping[str, float] | None = None, help: str = "") -> Any:
    """Return a value as the annotated type, within its bounds.

    Args:
        name: what messages call the value.
        bounds: ``low`` and ``high`` inclusive, ``above`` and ``below`` exclusive; in a list they apply to every item.

    Raises:
        ConfigError: it does not fit.
    """
    if value is None and "none" in choices(annotation):
        return "none"
    try:
        converted = msgspec.convert(_prepare(value, annotation), annotation, strict=False)
    except (msgspec.ValidationError, OverflowError):
        raise _misfit(name, value, annotation, bounds or {}, help) from None
    if not all(_fits(number, bounds or {}) for number in _numbers(converted)):
        raise _misfit(name, value, annotation, bounds or {}, help)
    return converted


def choices(annotation: Any) -> tuple[Any, ...]:
    """Return the allowed values of a closed choice, else an empty tuple."""
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def parse_options(kind: type[T], values: Mapping[str, Any], noun: str = "option") -> T:
    """Build a dataclass of options from values by field name; a field declared by `declared.key` brings its bounds.

    Raises:
        ConfigError: a name is unknown, or a value does not fit.
    """
    hints = get_type_hints(kind)
    declared = {item.name: item.metadata for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in declared:
            raise unknown_name(noun, str(name), declared)
    return kind(
        **{
            name: convert(name, value, hints[name], declared[name].get("bounds"), declared[name].get("help", ""))
            for name, value in values.items()
        }
    )


def _prepare(value: Any, annotation: Any) -> Any:
    """Adapt what msgspec would take too literally or too freely: numbers as text, 1 as true, text as a list."""
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    if value is None or (value in ("null", "") and type(None) in options and str not in options):
        return None
    if isinstance(value, (list, tuple)) and (item := next((o for o in options if get_origin(o) is list), None)):
        return [_prepare(part, get_args(item)[0]) for part in value]
    if mapping := next((o for o in options if get_origin(o) is dict), None):
        return _prepare_mapping(value, get_args(mapping)[1])
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if bool in options and not {int, float} & set(options):
            raise msgspec.ValidationError
        if str in options and not {int, float} & set(options):
            return str(value)
    return value


def _prepare_mapping(value: Any, annotation: Any) -> Any:
    """Return a mapping with names as text; text is read as JSON, which can hold any name."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            parsed = json.loads(value)
            value = parsed if isinstance(parsed, dict) else value
    if not isinstance(value, Mapping):
        return value
    return {str(name): _prepare(part, annotation) for name, part in value.items()}


def _numbers(value: Any) -> list[float]:
    """Return a number, or those of a list."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, (int, float)) and not isinstance(item, bool)]


def _fits(number: float, bounds: Mapping[str, float]) -> bool:
    """Whether a number is finite, within its bounds, and a whole number within 64 bits."""
    low, high = bounds.get("low", -math.inf), bounds.get("high", math.inf)
    above, below = bounds.get("above", -math.inf), bounds.get("below", math.inf)
    finite = abs(number) < 2**63 if isinstance(number, int) else math.isfinite(number)
    return finite and low <= number <= high and above < number < below


def _misfit(name: str, value: Any, annotation: Any, bounds: Mapping[str, float], help: str) -> ConfigError:
    if known := choices(annotation):
        return ConfigError(f"{name} is {value!r}. Known: {', '.join(map(str, known))}.")
    limits = " and ".join(f"{_RELATIONS[bound]} {limit:g}" for bound, limit in bounds.items())
    outside = next((number for number in _numbers(value) if limits and not _fits(number, bounds)), None)
    if outside is not None:
        return ConfigError(f"{name} is {outside}; it must be {limits}. {help}".rstrip())
    return ConfigError(f"{name} is {value!r}; expected {_noun(annotation)}. {help}".rstrip())


def _noun(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if option is type(None) else _noun(option) for option in arguments)
    if origin is list:
        return f"a list (each {_noun(arguments[0])})"
    if origin is dict:
        return "a mapping"
    if origin is Literal:
        return " or ".join(map(str, arguments))
    return _NOUNS.get(annotation, str(getattr(annotation, "__name__", annotation)))
