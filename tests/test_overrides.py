"""A config survives the way to overrides and back: the shown command gives the config on the screen."""

from __future__ import annotations

import shlex
from typing import Any, get_args, get_origin

import numpy as np
import pytest

from ctbench_core.cli.compose import compose_config
from ctbench_core.config import KEYS, Config, changed_keys, get_key, set_key
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
    "${paths.data_root}",
    "a${b}c",
    "a;b",
    "line\nbreak",
    "日本",
    "(x) [y] {z}",
    "",
    ",",
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
    set_key(config, "job_name", text or "train")
    set_key(config, "data.labels.rename", {text: text, "other": "b"})
    set_key(config, "data.labels.separator", text)
    assert composed(to_overrides(config)) == config


def test_command_survives_a_shell() -> None:
    config = Config()
    set_key(config, "training.target_labels", STRINGS)
    set_key(config, "paths.outputs_root", "/runs of 'Ann'/$HOME")
    python, module, package, verb, *overrides = shlex.split(to_command(config, "train"))
    assert (python, module, package, verb) == ("python", "-m", "ctbench_core", "train")
    assert composed(overrides) == config


def test_plain_words_are_written_without_quotes() -> None:
    config = Config()
    set_key(config, "job_name", "pilot")
    set_key(config, "data.train_manifest", "null")
    assert to_overrides(config) == ["data.train_manifest='null'", "job_name=pilot"]


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
    if "dict" in str(annotation):
        names = [STRINGS[k] for k in draw.integers(len(STRINGS), size=draw.integers(4))]
        return {name: random_scalar(float if "float" in str(annotation) else str, draw) for name in names}
    if info.choices:
        return info.choices[draw.integers(len(info.choices))]
    if type(None) in arguments:
        if draw.random() < 0.3:
            return None
        annotation = next(option for option in arguments if option is not type(None))
    if get_origin(annotation) is list:
        return [random_scalar(get_args(annotation)[0], draw) for _ in range(draw.integers(4))]
    low, high = info.bounds.get("low", 0), info.bounds.get("below", info.bounds.get("high", 1))
    value = random_scalar(annotation, draw)
    return low + (high - low) * value if isinstance(value, float) else value


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
    assert composed(["paths.data_root=C:\\data\\x"]).paths.data_root == "C:/data/x"


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


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.target_labels=[Émphysème,ja]", ["Émphysème", "ja"]),
        ("training.target_labels=[肺結節]", ["肺結節"]),
        ("training.target_labels=[a;b,c#d,<e>,f&g,~h,!i]", ["a;b", "c#d", "<e>", "f&g", "~h", "!i"]),
        ("training.target_labels=['é, a','b']", ["é, a", "b"]),
        ("data.labels.separator=;", ";"),
        ("data.labels.rename={A b:c é}", {"A b": "c é"}),
        ("""data.labels.rename='{"a, b": "c: d", "e": "it\\'s"}'""", {"a, b": "c: d", "e": "it's"}),
        ("data.cohort.where=[{column:Größe,op:<,value:60}]", [{"column": "Größe", "op": "<", "value": 60}]),
        ("data.train_manifest=train (1).csv", "train (1).csv"),
        ("data.cohort.exclude=a=b,[c].txt", "a=b,[c].txt"),
        ("data.selection=/x/{y} (z).csv", "/x/{y} (z).csv"),
        ("model.prompts=ä & ö.npz", "ä & ö.npz"),
        ("paths.data_root=/a=b (é) [x]/", "/a=b (é) [x]/"),
        ("job_name=étude", "étude"),
        ("data.columns.volume=Größe in mm", "Größe in mm"),
    ],
)
def test_letters_signs_and_paths_are_taken_as_they_are(override: str, expected: Any) -> None:
    assert get_key(composed([override]), override.partition("=")[0]) == expected


@pytest.mark.parametrize(
    "override",
    ["data.columns.volume=a (b)", "training.target_labels=[a=b]", "training.target_labels=[it's]", "job_name=a:b:{"],
)
def test_what_needs_quotes_says_how(override: str) -> None:
    with pytest.raises(ConfigError, match=r"Put single quotes around .*'a \(b\)'") as caught:
        compose_config([override])
    assert "token recognition" not in str(caught.value)
    key, _, value = override.partition("=")
    if not value.startswith("["):
        assert get_key(composed([f"{key}='{value}'"]), key) == value


def test_a_literal_interpolation_says_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"Write \\\$\{"):
        compose_config(["data.columns.volume=${nowhere}"])
