"""Titles of a study's axes and of their values, for people; plans, tables and addresses of files keep the names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ctbench_core.config import KEYS, key_title, title_of
from ctbench_core.declared import HEADS
from ctbench_core.studies.study import AXES, GROUP

_TITLES = {GROUP: "Head", "source": "Label source"}


def axis_title(axis: str) -> str:
    """Return the title of an axis or search parameter: ``Head``, ``Learning rate``."""
    return _TITLES.get(axis) or key_title(axis)


def label_title(axis: str, label: object) -> str:
    """Return what people call a value of an axis: ``MLP`` of the head ``mlp_visual``."""
    text = str(label)
    if axis == GROUP:
        head = HEADS.get(HEADS.canonical(text))
        return head.title if head else text
    return title_of(KEYS[axis], text) if axis in KEYS else text


def cell_title(labels: Mapping[str, object]) -> str:
    """Write a cell, or a part of it, by its values; those of a config key with their title: ``MLP · dropout 0.2``."""
    parts = (
        label_title(axis, label) if axis in (*AXES, GROUP) else f"{axis_title(axis).lower()} {label_title(axis, label)}"
        for axis, label in labels.items()
    )
    return " · ".join(parts)


def titled_sentences(sentences: Iterable[str]) -> list[str]:
    """Return sentences that begin with the name of an axis, ``name: ...``, with its title in place of the name."""
    pairs = (sentence.partition(": ") for sentence in sentences)
    return [f"{axis_title(name)}: {rest}" for name, _, rest in pairs]
