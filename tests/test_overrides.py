"""A config survives the way to overrides and back: the shown command gives the config on the screen."""

from __future__ import annotations

import shlex
from typing import Any, get_args, get_origin

import numpy as np
import pytest

from ctbench_core.cli.compose import compose_config
from ctbench_core.config import KEYS, Config, changed_keys, set_key
from ctbench_core.errors import ConfigError
from ctbench_core.overrides import to_command, to_overrides

# What the grammar, the shell or YAML could take for something else.
STRINGS = [
    "plain",
    "Lung nodule",
    "Lung opacity (mild), left",
    "it's",
    'a "quoted" word',
    "'single'",
    '"double"',
    "back\\slash",
    "ends with \\",
    "\\'",
    "\\\\'",
    "C:\\data\\features",
    "a=b=c",
    "[x,y]",
    "{a:b}",
    "a:b",
    "#hash",
    " blanks around ",
    "tab\there",
    "null",
    "true",
    "off",
    "1e-3",
    "001",
    "0",
    "nan",
    "~tilde",
    "+plus",
    "-dash",
    "*?!$;&|<>",
    "Émphysème – 肺",
    "@",
    "???x",
]


def composed(overrides: list[str]) -> Config:
    return compose_config(overrides).config


@pytest.mark.parametrize("text", STRINGS)
def test_string_values_come_back(text: str) -> None:
    config = Config()
    set_key(config, "data.train_manifest", text)
    set_key(config, "training.target_labels", [text, "other"])
    set_key(config, "data.cohort.where", [{"column": text, "op": "==", "value": text}])
    set_key(config, "paths.data_root", text)
    set_key(config, "job_name", text)
    assert composed(to_overrides(config)) == config


def test_command_survives_a_shell() -> None:
    config = Config()
    set_key(config, "training.target_labels", STRINGS)
    set_key(config, "paths.outputs_root", "/runs of 'Ann'/$HOME")
    python, module, package, verb, *overrides = shlex.split(to_command(config, "train"))
    assert (python, module, package, verb) == ("python", "-m", "ctbench_core", "train")
    assert composed(overrides) == config


def test_defaults_need_no_word() -> None:
    assert to_overrides(Config()) == []
    assert to_command(Config()) == "python -m ctbench_core train"


def random_value(info: Any, draw: np.random.Generator) -> Any:
    """Draw a value of a key's type, inside its bounds."""
    annotation, arguments = info.annotation, get_args(info.annotation)
    if info.name == "training.loss.pos_weight":
        return [None, "auto", "none", [0.5, 2.0]][draw.integers(4)]
    if info.name == "data.cohort.where":
        return [{"column": "PatientAge", "op": ">=", "value": [60, 0.5, "x y", True, ["a", "b'c"]][draw.integers(5)]}]
    if info.choices:
        return info.choices[draw.integers(len(info.choices))]
    if type(None) in arguments:
        if draw.random() < 0.3:
            return None
        annotation = next(option for option in arguments if option is not type(None))
    if get_origin(annotation) is list:
        return [random_scalar(get_args(annotation)[0], draw) for _ in range(draw.integers(4))]
    return random_scalar(annotation, draw)


def random_scalar(kind: type, draw: np.random.Generator) -> Any:
    if kind is bool:
        return bool(draw.integers(2))
    if kind is int:
        return int(draw.integers(1, 10**9))
    if kind is float:
        return float(draw.uniform(1e-9, 0.99) * 10.0 ** -draw.integers(0, 7))
    return STRINGS[draw.integers(len(STRINGS))]


@pytest.mark.parametrize("seed", range(30))
def test_random_configs_come_back(seed: int) -> None:
    draw = np.random.default_rng(seed)
    config = Config()
    for info in KEYS.values():
        if draw.random() < 0.6:
            set_key(config, info.name, random_value(info, draw))
    # The run directory is a place chosen when composing; as a key of its own it is tested in cli/.
    set_key(config, "paths.run_dir", None)
    back = composed(to_overrides(config))
    assert changed_keys(back) == changed_keys(config)
    assert back == config


def test_overrides_take_paths_raw_and_strip_one_pair_of_quotes() -> None:
    assert composed(["paths.data_root=/a b/c,d[1]=e"]).paths.data_root == "/a b/c,d[1]=e"
    assert composed(["paths.data_root='/a b'"]).paths.data_root == "/a b"
    assert composed(["paths.cache_dir=null"]).paths.cache_dir is None
    assert composed(["paths.data_root=C:\\data\\x"]).paths.data_root == "C:\\data\\x"


def test_lists_may_hold_spaces() -> None:
    config = composed(["training.target_labels=[Lung nodule,Lung opacity]"])
    assert config.training.target_labels == ["Lung nodule", "Lung opacity"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.lr=1", r"Unknown key 'training.lr'"),
        ("training.learning_rat=1", r"Did you mean training.learning_rate"),
        ("paths.dataroot=x", r"Unknown key 'paths.dataroot'.*paths.data_root"),
        ("training.batch_size=32,64", r"several values.*one run takes one value"),
        ("training.batch_size", r"expected key=value"),
        ("training.batch_size=[", r"Cannot understand"),
        ("=3", r"Cannot understand|Unknown key"),
        ("training.batch_size=-1", r"training.batch_size is -1; it must be at least 1"),
        ("training=null", r"Unknown key 'training'"),
        ("model=nonsense", r"cannot be composed.*nonsense"),
        ("model=[a,[b]]", r"cannot be composed"),
        ("+data=true", r"cannot be composed"),
        ("hydra.nonsense=1", r"cannot be composed.*nonsense"),
        ("data.train_manifest=${nowhere}", r"cannot be composed.*nowhere"),
    ],
)
def test_an_invalid_override_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_config([override])
