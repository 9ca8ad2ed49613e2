"""One file to one vector: every format, every kind of unusable file, and no code run."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ctbench_core.errors import FeatureError
from ctbench_core.features import load_features, read_vector

VECTOR = np.arange(1, 7, dtype=np.float32) / 7


def save_npz(path: Path, array: np.ndarray) -> None:
    np.savez(path, array)


def save_packed(path: Path, array: np.ndarray) -> None:
    np.savez_compressed(path, features=array)


def save_torch(path: Path, array: np.ndarray) -> None:
    torch.save(torch.from_numpy(array), path)


def save_dict(path: Path, array: np.ndarray) -> None:
    torch.save({"name": "train_1_a_1", "features": torch.from_numpy(array)}, path)


def save_legacy(path: Path, array: np.ndarray) -> None:
    torch.save(torch.from_numpy(array), path, _use_new_zipfile_serialization=False)


WRITERS: list[tuple[str, Callable[[Path, np.ndarray], None]]] = [
    ("a.npz", save_npz),
    ("a.npz", save_packed),
    ("a.npy", np.save),
    ("a.pt", save_torch),
    ("a.pth", save_dict),
    ("a.pth", save_legacy),
]
WRITER_IDS = ["npz", "npz-compressed", "npy", "pt", "pth-dict", "pth-legacy"]


@pytest.mark.parametrize(("name", "save"), WRITERS, ids=WRITER_IDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int64])
def test_every_format_and_number_type_gives_a_float32_vector(
    tmp_path: Path, name: str, save: Callable[[Path, np.ndarray], None], dtype: Any
) -> None:
    array = (VECTOR * 7).astype(dtype)
    save(tmp_path / name, array[None, :, None])
    vector = read_vector(tmp_path / name)
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(vector, array.astype(np.float32))


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    with (tmp_path / "A.NPY").open("wb") as file:
        np.save(file, VECTOR)
    np.testing.assert_array_equal(read_vector(tmp_path / "A.NPY"), VECTOR)


def test_a_gradient_does_not_matter(tmp_path: Path) -> None:
    torch.save(torch.from_numpy(VECTOR).requires_grad_(True), tmp_path / "a.pt")
    np.testing.assert_array_equal(read_vector(tmp_path / "a.pt"), VECTOR)


def test_bfloat16_is_read(tmp_path: Path) -> None:
    torch.save(torch.from_numpy(VECTOR).to(torch.bfloat16), tmp_path / "a.pt")
    np.testing.assert_allclose(read_vector(tmp_path / "a.pt"), VECTOR, rtol=1e-2)


def test_key_chooses_the_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", second=2 * VECTOR, features=VECTOR)
    torch.save(
        {"meta": 3, "second": torch.from_numpy(2 * VECTOR), "features": torch.from_numpy(VECTOR)}, tmp_path / "a.pt"
    )
    for name in ("a.npz", "a.pt"):
        np.testing.assert_array_equal(read_vector(tmp_path / name), VECTOR)
        np.testing.assert_array_equal(read_vector(tmp_path / name, key="second"), 2 * VECTOR)
        with pytest.raises(FeatureError, match=r"'third'; it has .*second"):
            read_vector(tmp_path / name, key="third")


def save_named(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Save arrays under their names, in this order, as the format of the path's suffix."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".pt":
        torch.save({name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}, path)
    else:
        save_safetensors(path, arrays)


def save_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    header, at = {}, 0
    for name, array in arrays.items():
        size = 4 * np.size(array)
        header[name] = {"dtype": "F32", "shape": list(np.shape(array)), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    values = b"".join(np.asarray(array, "<f4").tobytes() for array in arrays.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)


LABELS, SCALAR = np.float32([1, 0, 1]), np.float32(0.5)
NAMED = [".npz", ".pt", ".safetensors"]


@pytest.mark.parametrize("suffix", NAMED)
@pytest.mark.parametrize(
    ("arrays", "chosen"),
    [
        ({"labels": LABELS, "features": VECTOR}, "features"),
        ({"label": LABELS, "x": VECTOR, "epoch": SCALAR}, "x"),
        ({"y": LABELS, "target_Mass": LABELS, "image": VECTOR}, "image"),
        ({"other": LABELS, "visual_features": VECTOR}, "visual_features"),
        ({"visual_features": 2 * VECTOR, "features": VECTOR}, "features"),
        ({"embedding": VECTOR, "other": LABELS}, "embedding"),
        ({"x": SCALAR}, "x"),
    ],
)
def test_the_vector_of_several_arrays_is_found_by_name_whatever_comes_first(
    tmp_path: Path, suffix: str, arrays: dict[str, np.ndarray], chosen: str
) -> None:
    save_named(tmp_path / f"a{suffix}", arrays)
    np.testing.assert_array_equal(read_vector(tmp_path / f"a{suffix}"), np.ravel(arrays[chosen]))


@pytest.mark.parametrize("suffix", NAMED)
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"first": LABELS, "second": VECTOR}, r"several arrays .*first \(3\), second \(6\).*data.feature_key"),
        ({"visual_features": VECTOR, "text_features": VECTOR}, r"visual_features \(6\), text_features \(6\)"),
        ({"labels": LABELS, "epoch": SCALAR}, r"no array that could be the vector; it has labels \(3\)"),
    ],
)
def test_several_arrays_without_a_usual_name_are_refused_with_their_names(
    tmp_path: Path, suffix: str, arrays: dict[str, np.ndarray], message: str
) -> None:
    save_named(tmp_path / f"a{suffix}", arrays)
    with pytest.raises(FeatureError, match=message):
        read_vector(tmp_path / f"a{suffix}")
    for name, array in arrays.items():
        np.testing.assert_array_equal(read_vector(tmp_path / f"a{suffix}", key=name), np.ravel(array))


@pytest.mark.parametrize("suffix", NAMED)
def test_many_files_with_labels_first_become_the_matrix_of_their_features(tmp_path: Path, suffix: str) -> None:
    matrix = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    for i, vector in enumerate(matrix):
        save_named(tmp_path / f"{i}{suffix}", {"labels": (vector[:3] > 0).astype(np.float32), "features": vector})
    features = load_features(tmp_path, [f"{i}{suffix}" for i in range(40)])
    np.testing.assert_array_equal(features.matrix[features.rows], matrix)


def test_an_unusable_array_of_a_usual_name_is_not_replaced_by_another(tmp_path: Path) -> None:
    torch.save({"features": [1.0, 2.0], "x": torch.from_numpy(VECTOR)}, tmp_path / "a.pt")
    np.savez(tmp_path / "a.npz", features=np.array([VECTOR, None], dtype=object), x=VECTOR)
    for name, message in (("a.pt", "it holds list, not a tensor"), ("a.npz", "pickled objects")):
        with pytest.raises(FeatureError, match=message):
            read_vector(tmp_path / name)


def test_names_beside_the_array_are_no_vector(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", volumename=np.array("train_1_a_1"), x=VECTOR)
    np.testing.assert_array_equal(read_vector(tmp_path / "a.npz"), VECTOR)


def test_a_long_flat_vector_is_refused_without_advice_that_cannot_help(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(16_385, dtype=np.float32))
    for pool in ("flatten", "mean"):
        with pytest.raises(FeatureError, match=r"16,385 values.*one pooled vector") as refused:
            read_vector(tmp_path / "a.npy", pool=pool)
        assert "data.pool" not in str(refused.value)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [("flatten", np.arange(12)), ("mean", [4, 5, 6, 7]), ("cls", [0, 1, 2, 3])],
)
def test_pooling_of_tokens(tmp_path: Path, pool: str, expected: Any) -> None:
    tokens = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    np.save(tmp_path / "a.npy", tokens)
    np.testing.assert_array_equal(read_vector(tmp_path / "a.npy", pool=pool), np.asarray(expected, dtype=np.float32))


@pytest.mark.parametrize("pool", ["flatten", "mean", "cls"])
@pytest.mark.parametrize("shape", [(6,), (1, 6)])
def test_pooling_leaves_a_single_vector_alone(tmp_path: Path, pool: str, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", VECTOR.reshape(shape))
    np.testing.assert_array_equal(read_vector(tmp_path / "a.npy", pool=pool), VECTOR)


def test_a_token_grid_is_not_flattened_by_mistake(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((33, 512), dtype=np.float32))
    with pytest.raises(FeatureError, match=r"16,896 values, above the limit of 16,384.*data.pool=mean"):
        read_vector(tmp_path / "a.npy")
    assert read_vector(tmp_path / "a.npy", pool="mean").shape == (512,)
    np.save(tmp_path / "b.npy", np.zeros((32, 512), dtype=np.float32))
    assert read_vector(tmp_path / "b.npy").shape == (16_384,)


class Trap:
    """Unpickling this would make a file: proof that code ran."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.pt", "a.pth"])
@pytest.mark.parametrize("way", ["plain", "inside"])
def test_a_pickle_is_refused_and_never_run(tmp_path: Path, name: str, way: str) -> None:
    path, proof = tmp_path / name, tmp_path / "code-ran"
    trap = Trap(proof)
    if way == "plain":
        path.write_bytes(pickle.dumps(trap, protocol=2))
    elif path.suffix in (".pt", ".pth"):
        torch.save({"features": torch.from_numpy(VECTOR), "extra": trap}, path)
    else:
        array = np.empty(1, dtype=object)
        array[0] = trap
        with path.open("wb") as file:
            (np.save if path.suffix == ".npy" else np.savez)(file, array)
    with pytest.raises(FeatureError, match="pickled objects, which could run code"):
        read_vector(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.empty((0,), dtype=np.float32), "empty array of shape"),
        (np.empty((3, 0), dtype=np.float32), "empty array of shape"),
        (np.array(["a", "b"]), "not numbers"),
        (np.array([1 + 2j]), "not numbers"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "not numbers"),
    ],
)
def test_what_is_no_vector_of_numbers_is_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(FeatureError, match=message):
        read_vector(tmp_path / "a.npy")


def test_archives_without_an_array_and_dicts_without_a_tensor_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz")
    with pytest.raises(FeatureError, match="has no array"):
        read_vector(tmp_path / "a.npz")
    torch.save({"name": "x"}, tmp_path / "a.pt")
    with pytest.raises(FeatureError, match="no array that could be the vector; it has name"):
        read_vector(tmp_path / "a.pt")
    torch.save([1, 2], tmp_path / "b.pt")
    with pytest.raises(FeatureError, match="holds list, not a tensor"):
        read_vector(tmp_path / "b.pt")


def test_another_suffix_lists_the_known(tmp_path: Path) -> None:
    (tmp_path / "a.unknown").write_text("1,2")
    with pytest.raises(FeatureError, match=r"unknown suffix. Known: .npz, .npy, .pt, .pth"):
        read_vector(tmp_path / "a.unknown")


@pytest.mark.parametrize(("name", "save"), WRITERS, ids=WRITER_IDS)
def test_damage_of_any_kind_is_one_message(tmp_path: Path, name: str, save: Callable[[Path, np.ndarray], None]) -> None:
    """Truncate and garble each format in hundreds of ways: it reads, or it is a FeatureError."""
    path = tmp_path / name
    save(path, VECTOR[None])
    whole, draw = path.read_bytes(), np.random.default_rng(5)
    refused = 0
    for trial in range(300):
        damaged = bytearray(whole)
        if trial % 3 == 0:
            damaged = damaged[: draw.integers(len(whole))]
        else:
            # Most bytes that matter are in the first 130.
            reach = 130 if trial % 3 == 1 else len(whole)
            for position in draw.integers(min(reach, len(whole)), size=draw.choice([1, 3, 30])):
                damaged[position] = draw.integers(256)
        path.write_bytes(bytes(damaged))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile remarks on some damage before it gives up
            try:
                read_vector(path)
            except FeatureError as error:
                assert name in str(error)
                refused += 1
    assert refused > 100
