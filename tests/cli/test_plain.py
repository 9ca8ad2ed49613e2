"""Plain overrides are composed without Hydra, to what Hydra composes."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ctbench_core.cli.compose import compose_config
from ctbench_core.cli.composed import Composed, compose_plain
from ctbench_core.config import KEYS

EXTRAS = ("run", "on", "first_csv")
TEXTS = [
    *(
        "true",
        "True",
        "FALSE",
        "null",
        "Null",
        "nan",
        "inf",
        "",
        "0",
        "-0",
        "007",
        "12",
        "-3",
        "1_000",
        "+1",
        ".5",
        "0.50",
    ),
    *(
        "1.",
        "1e-3",
        "2.5e1",
        "1e3",
        "0e0",
        "1E3",
        "auto",
        "a/b.csv",
        "a b",
        " a",
        "x-",
        "-x",
        "a,b",
        "[a,b]",
        "[1,2.5]",
    ),
    *(
        "[]",
        "[a, b]",
        "[[1],[2]]",
        "['a']",
        "'a'",
        "''",
        '"a"',
        "a=b",
        "a:b",
        "{a:1}",
        "${x}",
        "???",
        "a?",
        "ä",
        "#a",
        "e5",
        "_x",
    ),
    *(
        "mlp",
        "cpu",
        "visual",
        "test.csv",
        "../x",
        "a\\b",
        "1a",
        "nan.x",
        "true.csv",
        "-",
        "a..b",
        "a//b",
        "null_",
        "\\n",
    ),
]
KEY = st.sampled_from(
    [*KEYS, *EXTRAS, "model", "data", "data.labels", "nosuch", "hydra.run.dir", "~training.max_epochs"]
)
VALUE = st.one_of(
    st.sampled_from(TEXTS),
    st.text(alphabet="ab01.-_/e+[],'", max_size=6),
    st.floats(allow_nan=False).map(str),
    st.integers().map(str),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(KEY, VALUE).map("=".join), max_size=4))
@example(["data.test_manifests=[test.csv,x.csv]", "paths.data_root=a b, c", "training.learning_rate=1e-3"])
@example(["data.test_manifests=[]"])
@example(["run=${x}", "paths.run_dir=x"])
@example(["paths.run_dir=''"])
def test_what_is_plain_is_composed_as_by_hydra(overrides: list[str]) -> None:
    plain = compose_plain(overrides, "verb", EXTRAS)
    if plain is None:
        return
    composed = compose_config(overrides, job_name="verb", extras=EXTRAS)
    assert repr(plain) == repr(composed)


def test_every_key_takes_plain_texts_as_hydra_does() -> None:
    plain = {key: [text for text in TEXTS if _compose(f"{key}={text}") is not None] for key in [*KEYS, *EXTRAS]}
    assert {text for texts in plain.values() for text in texts} > {
        "true",
        "null",
        "-3",
        "0.50",
        "1e-3",
        "a/b.csv",
        "[a,b]",
    }
    for turn in range(12):
        words = [f"{key}={texts[(at + turn) % len(texts)]}" for at, (key, texts) in enumerate(plain.items()) if texts]
        assert len(words) > 90
        assert repr(_compose(*words)) == repr(compose_config(words, job_name="verb", extras=EXTRAS))


def _compose(*words: str) -> Composed | None:
    return compose_plain(words, "verb", EXTRAS)


def test_usual_commands_are_plain() -> None:
    usual = ["paths.data_root=x y", "data.test_manifests=[a.csv,b.csv]", "training.max_epochs=3", "utils.device=cpu"]
    composed = compose_plain([*usual, "training.learning_rate=0.001", "on=validation"], "verb", EXTRAS)
    assert composed is not None
    assert composed.extras == {"on": "validation"}
    assert composed.config.training.max_epochs == 3
    assert compose_plain(["model=linear_probe"], "verb", ()) is None
    assert compose_plain(["training.max_epochs=x"], "verb", ()) is None  # Hydra's way words the error
