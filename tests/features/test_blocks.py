"""Files read together give the same vectors as files read alone, even when one is changed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ctbench_core.errors import FeatureError
from ctbench_core.features import read_vector
from ctbench_core.features.blocks import make_template
from ctbench_core.features.reader import FileReader

Save = Callable[[Path, np.ndarray], None]


def save_safetensors(path: Path, array: np.ndarray, dtype: torch.dtype | None = None) -> None:
    save = pytest.importorskip("safetensors.torch").save_file
    tensor = torch.from_numpy(array)
    save({"features": tensor if dtype is None else tensor.to(dtype)}, path)


FORMATS: dict[str, tuple[str, Save]] = {
    "npz": (".npz", np.savez),
    "npz-double": (".npz", lambda path, array: np.savez(path, features=array.astype(np.float64))),
    "npy": (".npy", np.save),
    "npy-half": (".npy", lambda path, array: np.save(path, array.astype(np.float16))),
    "npy-big-endian": (".npy", lambda path, array: np.save(path, array.astype(">f4"))),
    "pt": (".pt", lambda path, array: torch.save(torch.from_numpy(array), path)),
    "pt-bfloat16": (".pt", lambda path, array: torch.save(torch.from_numpy(array).bfloat16(), path)),
    "pt-dict": (
        ".pth",
        lambda path, array: torch.save(
            {"other": torch.from_numpy(array * 2), "features": torch.from_numpy(array)}, path
        ),
    ),
    "safetensors": (".safetensors", save_safetensors),
    "safetensors-bfloat16": (".safetensors", lambda path, array: save_safetensors(path, array, torch.bfloat16)),
}


def write(folder: Path, kind: str, count: int) -> list[str]:
    suffix, save = FORMATS[kind]
    draw = np.random.default_rng(4)
    names = [f"train_{100 + i}{suffix}" for i in range(count)]
    for name in names:
        save(folder / name, draw.standard_normal((1, 24)).astype(np.float32))
    return names


def alone(path: Path) -> np.ndarray | None:
    try:
        return read_vector(path)
    except FeatureError:
        return None


@pytest.mark.parametrize("kind", FORMATS)
def test_a_template_serves_every_export_of_one_kind(tmp_path: Path, kind: str) -> None:
    names = write(tmp_path, kind, 40)
    batch = FileReader(tmp_path, None, "flatten").read(names, 24)
    assert batch.index.failures == {}
    np.testing.assert_array_equal(batch.matrix, [read_vector(tmp_path / name) for name in names])
    first, others = (tmp_path / names[0]).read_bytes(), [(tmp_path / name).read_bytes() for name in names[1:]]
    template = make_template(names[0], first, None, "flatten")
    assert template is not None
    joined = b"".join(others)
    assert template.match(np.frombuffer(joined, np.uint8).reshape(len(others), -1), joined).all()


@pytest.mark.parametrize("kind", FORMATS)
def test_what_a_template_accepts_the_full_parser_reads_alike(tmp_path: Path, kind: str) -> None:
    """Change, in turn, bytes all over a file and every byte of its end."""
    names = write(tmp_path, kind, 6)
    victim = tmp_path / names[3]
    whole, draw = victim.read_bytes(), np.random.default_rng(5)
    template = make_template(names[0], (tmp_path / names[0]).read_bytes(), None, "flatten")
    assert template is not None
    positions = draw.permutation(len(whole))[:400].tolist() + list(range(len(whole) - 60, len(whole)))
    accepted = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile remarks on some damage before it gives up
        for position in positions:
            damaged = bytearray(whole)
            damaged[position] ^= int(draw.integers(1, 256))
            victim.write_bytes(bytes(damaged))
            block = np.frombuffer(bytes(damaged), np.uint8)[None]
            if template.match(block, bytes(damaged))[0]:
                accepted += 1
                expected = alone(victim)
                assert expected is not None, position
                assert template.vectors(block)[0].astype(np.float32).tobytes() == expected.tobytes()
    # The values of a .npz have a checksum; elsewhere any value is valid.
    assert (accepted > 0) == (not kind.startswith("npz"))


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if not kind.startswith("pt")])
def test_one_damaged_file_among_others_reads_as_it_does_alone(tmp_path: Path, kind: str) -> None:
    """Torch is left out: on some damage it answers now so, now so."""
    names = write(tmp_path, kind, 6)
    victim = tmp_path / names[3]
    whole, draw = victim.read_bytes(), np.random.default_rng(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for position in draw.permutation(len(whole))[:200].tolist():
            damaged = bytearray(whole)
            damaged[position] ^= int(draw.integers(1, 256))
            victim.write_bytes(bytes(damaged))
            batch, expected = FileReader(tmp_path, None, "flatten").read(names, 24), alone(victim)
            usable = expected is not None and len(expected) == 24 and bool(np.isfinite(expected).all())
            assert (batch.index.rows[3] >= 0) == usable, position
            if usable:
                assert batch.matrix[batch.index.rows[3]].tobytes() == expected.tobytes()  # type: ignore[union-attr]
            assert set(batch.index.failures) <= {names[3]}


def test_swapped_headers_and_checksums_do_not_pass(tmp_path: Path) -> None:
    names = write(tmp_path, "npz", 6)
    one, other = ((tmp_path / name).read_bytes() for name in names[:2])
    values = slice(len(one) - 200, len(one) - 150)
    forged = bytearray(one)
    forged[values] = other[values]  # values of the one under the checksum of the other
    (tmp_path / names[3]).write_bytes(bytes(forged))
    batch = FileReader(tmp_path, None, "flatten").read(names, 24)
    assert batch.index.failures[names[3]][0] == "unreadable"
    assert "CRC" in batch.index.failures[names[3]][1]


def test_shapes_of_one_size_are_told_apart(tmp_path: Path) -> None:
    """48 half floats and 24 floats fill the same bytes."""
    draw = np.random.default_rng(6)
    arrays = [draw.standard_normal(48 if i % 3 else 24).astype(np.float16 if i % 3 else np.float32) for i in range(12)]
    names = [f"{i}.npy" for i in range(12)]
    for name, array in zip(names, arrays):
        np.save(tmp_path / name, array)
    assert len({(tmp_path / name).stat().st_size for name in names}) == 1
    batch = FileReader(tmp_path, None, "flatten").read(names, 24)
    assert batch.index.widths.tolist() == [24 if i % 3 == 0 else 48 for i in range(12)]
    np.testing.assert_array_equal(batch.matrix, arrays[::3])


@pytest.mark.parametrize("pool", ["flatten", "mean", "cls"])
def test_tokens_and_reordered_arrays_are_pooled_alike(tmp_path: Path, pool: str) -> None:
    draw = np.random.default_rng(7)
    names = [f"{i}.npy" for i in range(10)]
    for i, name in enumerate(names):
        array = draw.standard_normal((3, 8)).astype(np.float32)
        np.save(tmp_path / name, np.asfortranarray(array) if i % 2 else array)
    expected = [read_vector(tmp_path / name, pool=pool) for name in names]
    batch = FileReader(tmp_path, None, pool).read(names, len(expected[0]))
    np.testing.assert_array_equal(batch.matrix, expected)


def test_a_key_is_honoured_and_a_part_of_a_storage_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    base = torch.arange(48.0)
    for i in range(8):
        torch.save({"a": base + i, "b": (base + i)[24:], "c": (base[:24] * i).reshape(4, 6).T}, tmp_path / f"{i}.pt")
    names = [f"{i}.pt" for i in range(8)]
    for key in ("a", "b", "c"):
        expected = [read_vector(tmp_path / name, key) for name in names]
        batch = FileReader(tmp_path, key, "flatten").read(names, len(expected[0]))
        np.testing.assert_array_equal(batch.matrix, expected)
