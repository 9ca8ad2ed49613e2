"""The registered formats of feature files: how the vector of one volume, or a table of many, is read."""

from __future__ import annotations

from dataclasses import dataclass

from ctbench_core.declared.registry import Registry


@dataclass(frozen=True)
class FeatureFormat:
    """One format of feature files; its functions are referenced by ``module:name``.

    Attributes:
        suffixes: in lower case, each with one dot.
        parse: (bytes of a file, data.feature_key) to the array of one volume; empty if files never hold one volume.
        locate: (bytes, data.feature_key) to the `Layout` of the values, for blocks of files alike; may be empty.
        read_table: (path, data.feature_key, data.pool) to the ids of R volumes and their vectors (R, D); empty if there are no
            such tables.
        is_table: (path, data.feature_key) to whether a file that could be either is a table, by its headers alone.
        contents: (path) to the list of `StoredArray` in a file; empty if a file is one array that ``parse`` returns.
        entries: what ``data.feature_key`` names in a file; empty if a file has one array.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    parse: str = ""
    locate: str = ""
    read_table: str = ""
    is_table: str = ""
    contents: str = ""
    entries: str = ""

    @property
    def aliases(self) -> tuple[str, ...]:
        """The suffixes: each belongs to one format."""
        return self.suffixes


FORMATS = Registry(
    "feature format",
    (
        FeatureFormat(
            "npz",
            "NumPy archive",
            (".npz",),
            contents="ctbench_core.features.contents:npz_contents",
            parse="ctbench_core.features.formats:parse_npz",
            locate="ctbench_core.features.blocks:locate_npz",
            read_table="ctbench_core.features.tables:read_npz_table",
            is_table="ctbench_core.features.tables:is_npz_table",
            entries="array",
        ),
        FeatureFormat(
            "npy",
            "NumPy array",
            (".npy",),
            contents="ctbench_core.features.contents:npy_contents",
            parse="ctbench_core.features.formats:parse_npy",
            locate="ctbench_core.features.blocks:locate_npy",
        ),
        FeatureFormat(
            "torch",
            "PyTorch tensor",
            (".pt", ".pth"),
            contents="ctbench_core.features.contents:torch_contents",
            parse="ctbench_core.features.formats:parse_torch",
            locate="ctbench_core.features.blocks:locate_torch",
            entries="tensor",
        ),
        FeatureFormat(
            "safetensors",
            "safetensors",
            (".safetensors",),
            contents="ctbench_core.features.contents:safetensors_contents",
            parse="ctbench_core.features.formats:parse_safetensors",
            locate="ctbench_core.features.blocks:locate_safetensors",
            entries="tensor",
        ),
        FeatureFormat(
            "hdf5",
            "HDF5",
            (".h5", ".hdf5"),
            contents="ctbench_core.features.hdf5:hdf5_contents",
            parse="ctbench_core.features.hdf5:parse_hdf5",
            locate="ctbench_core.features.hdf5:locate_hdf5",
            read_table="ctbench_core.features.hdf5:read_hdf5_table",
            is_table="ctbench_core.features.hdf5:is_hdf5_table",
            entries="data set",
        ),
        FeatureFormat(
            "parquet",
            "Parquet table",
            (".parquet", ".pq"),
            contents="ctbench_core.features.contents:arrow_contents",
            read_table="ctbench_core.features.tables:read_arrow_table",
            entries="list column",
        ),
        FeatureFormat(
            "arrow",
            "Arrow table",
            (".arrow", ".feather", ".ipc"),
            contents="ctbench_core.features.contents:arrow_contents",
            read_table="ctbench_core.features.tables:read_arrow_table",
            entries="list column",
        ),
    ),
)


def suffix_of(path: str) -> str:
    """Return the suffix in lower case with its dot, or an empty string."""
    dot = path.rfind(".")
    return path[dot:].lower() if dot >= 0 else ""


def format_of(path: str) -> FeatureFormat | None:
    """Return the format of a file by its suffix, None for an unknown one."""
    return FORMATS.get(FORMATS.canonical(suffix_of(path)))


def ambiguous_suffixes() -> tuple[str, ...]:
    """Return the suffixes of files whose headers say whether they are tables."""
    return tuple(suffix for item in FORMATS.values() if item.is_table for suffix in item.suffixes)


def vector_suffixes() -> tuple[str, ...]:
    """Return the suffixes of files that hold the vector of one volume."""
    return tuple(suffix for item in FORMATS.values() if item.parse for suffix in item.suffixes)


def table_suffixes() -> tuple[str, ...]:
    """Return the suffixes of files that only hold tables of many volumes."""
    return tuple(suffix for item in FORMATS.values() if not item.parse for suffix in item.suffixes)
