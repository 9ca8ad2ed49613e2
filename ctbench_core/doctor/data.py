"""The data of a config: allowed folders, manifests, a sample of its features, and the packed stores."""

from __future__ import annotations

from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.dataset import feature_kinds, known_packs, pack_cache, read_test_manifests, read_training_manifests
from ctbench_core.doctor.diagnosis import ERROR, OK, WARNING, Finding, counted, sized
from ctbench_core.errors import CtbenchError, InputError
from ctbench_core.features import SUFFIXES, allowed_roots, check_allowed, find_file, read_vector
from ctbench_core.runs import RunStore

_SAMPLE = 32
_NO_DATA = Finding(OK, "no data were named", "Give paths.data_root and paths.manifest_dir to have them looked at.")


def _is_named(config: Config) -> bool:
    """Whether the config's data are somebody's choice: not the defaults, or the defaults are there."""
    usual, given = Config().paths, config.paths
    pairs = [(given.data_root, usual.data_root), (given.manifest_dir, usual.manifest_dir)]
    return any(one != default or Path(one).exists() for one, default in pairs)


def allowed(config: Config) -> Finding:
    """Hold the folders of the config against CTBENCH_ROOTS."""
    roots = allowed_roots()
    if not roots:
        return Finding(OK, "every folder of this machine (CTBENCH_ROOTS is not set)")
    named = [config.paths.outputs_root, *([config.paths.data_root, config.paths.manifest_dir] * _is_named(config))]
    for folder in named:
        check_allowed(folder)
    gone = [str(root) for root in roots if not root.is_dir()]
    if gone:
        return Finding(WARNING, f"CTBENCH_ROOTS names what is no folder: {', '.join(gone)}", "Correct CTBENCH_ROOTS.")
    return Finding(OK, ", ".join(map(str, roots)))


def manifests(config: Config) -> Finding:
    """Read every manifest."""
    if not _is_named(config):
        return _NO_DATA
    found, warnings = read_training_manifests(config)
    found |= read_test_manifests(config, found["train"].labels)
    said = ", ".join(f"{name} {len(manifest):,} volumes" for name, manifest in found.items())
    labels = len(found["train"].labels)
    if warnings:
        return Finding(WARNING, "; ".join([said, *warnings]), "Check on the Data page, or `check`, tells the rows.")
    return Finding(OK, f"{said}; {labels} findings")


def features(config: Config) -> Finding:
    """Look for the feature root and read a sample of the files that the training manifest names."""
    if not _is_named(config):
        return _NO_DATA
    root = check_allowed(config.paths.data_root)
    if root.is_file():
        return Finding(OK, f"one table, {root}")
    if not root.is_dir():
        return Finding(
            ERROR,
            f"the feature root {root} is not there",
            "Set paths.data_root to the folder that the manifests' paths start from; is a disk not mounted?",
        )
    try:
        train = read_training_manifests(config)[0]["train"]
    except InputError:
        return Finding(OK, f"{root} is there", "Which files belong to it shows once the manifests can be read.")
    paths = {"visual": train.visual_paths, "text": train.text_paths}
    named = [paths[kind] for kind in feature_kinds(config)]
    distinct = list(dict.fromkeys(str(path) for column in named if column is not None for path in column))
    chosen = distinct[:: max(1, len(distinct) // _SAMPLE)]
    wrong = [problem for written in chosen if (problem := _problem(config, root, written))]
    if wrong:
        told = f"{len(wrong)} of {len(chosen)} sampled files cannot be read, as: {wrong[0]}"
        return Finding(ERROR, told, "Check on the Data page, or `check`, names every such file.")
    return Finding(OK, f"{len(chosen)} of {len(distinct):,} files sampled, all readable")


def _problem(config: Config, root: Path, written: str) -> str:
    """Return what is wrong with a feature file; empty when it can be read."""
    try:
        file = find_file(root, written)
        if file is None:
            return f"{written} is not below {root}"
        if file.suffix in SUFFIXES:
            read_vector(file, config.data.feature_key, config.data.pool)
    except CtbenchError as error:
        return str(error)
    return ""


def packs(config: Config) -> Finding:
    """Tell which packed stores no longer match their files, are damaged, or are used by nobody."""
    found = known_packs(pack_cache(config), RunStore(config.paths.outputs_root).runs(kind=None), [config])
    total = sum(pack.store.size for pack in found)
    said = f"{counted(len(found), 'packed store')}, {sized(total)}" if found else "nothing is packed"
    states = {state: [pack for pack in found if pack.state == state] for state in ("outdated", "damaged", "unused")}
    parts = [
        *(
            f"{pack.store.folder.name}: {pack.changed:,} of {pack.store.files:,} files changed or gone"
            for pack in states["outdated"]
        ),
        *(f"{pack.store.folder.name} is damaged" for pack in states["damaged"]),
    ]
    if parts:
        return Finding(WARNING, "; ".join(parts), "Changed files are read anew at the next use; `pack` does it now.")
    if states["unused"]:
        unused = sized(sum(pack.store.size for pack in states["unused"]))
        return Finding(OK, f"{said}; {len(states['unused'])} that no run reads, {unused}", "System can remove them.")
    return Finding(OK, said)
