"""Check the data of a config: allowed folders, manifests, a sample of the features, and the packed stores."""

from __future__ import annotations

from pathlib import Path

from ctbench_core.config import Config, is_url
from ctbench_core.dataset import feature_kinds, pack_cache, read_test_manifests, read_training_manifests, store_usage
from ctbench_core.declared import vector_suffixes
from ctbench_core.doctor.diagnosis import ERROR, OK, WARNING, CheckOutcome
from ctbench_core.errors import CtbenchError, InputError
from ctbench_core.features import allowed_roots, check_allowed, check_place, find_file, read_vector
from ctbench_core.formatting import format_bytes, plural
from ctbench_core.runs import RunStore

_SAMPLE = 32
_NO_DATA = CheckOutcome(OK, "no data chosen", "Set paths.data_root and paths.manifest_dir to check them.")


def _is_chosen(config: Config) -> bool:
    """Return whether the config names data: folders other than the defaults, or defaults that exist."""
    default, chosen = Config().paths, config.paths
    pairs = [(chosen.data_root, default.data_root), (chosen.manifest_dir, default.manifest_dir)]
    return any(folder != usual or Path(folder).exists() for folder, usual in pairs)


def allowed(config: Config) -> CheckOutcome:
    """Check that the config's folders lie inside CTBENCH_ROOTS."""
    roots = allowed_roots()
    if not roots:
        return CheckOutcome(OK, "every folder of this machine (CTBENCH_ROOTS is not set)")
    data_folders = [config.paths.data_root, config.paths.manifest_dir] if _is_chosen(config) else []
    for folder in (config.paths.outputs_root, *data_folders):
        check_place(folder)
    absent = [str(root) for root in roots if isinstance(root, Path) and not root.is_dir()]
    if absent:
        return CheckOutcome(WARNING, f"not a folder: {', '.join(absent)}", "Correct CTBENCH_ROOTS.")
    return CheckOutcome(OK, ", ".join(map(str, roots)))


def manifests(config: Config) -> CheckOutcome:
    """Read every manifest."""
    if not _is_chosen(config):
        return _NO_DATA
    manifests, warnings = read_training_manifests(config)
    manifests |= read_test_manifests(config, manifests["train"].labels)
    sizes = ", ".join(f"{name} {plural(len(manifest), 'volume')}" for name, manifest in manifests.items())
    if warnings:
        advice = "Use Check on the Data page, or `check`, to list the rows."
        return CheckOutcome(WARNING, "; ".join([sizes, *warnings]), advice)
    return CheckOutcome(OK, f"{sizes}; {plural(len(manifests['train'].labels), 'finding')}")


def features(config: Config) -> CheckOutcome:
    """Read a sample of the feature files that the training manifest names."""
    if not _is_chosen(config):
        return _NO_DATA
    if is_url(config.paths.data_root):
        return CheckOutcome(OK, f"{config.paths.data_root}, copied by `pack` and `check`")
    root = check_allowed(config.paths.data_root)
    if root.is_file():
        return CheckOutcome(OK, f"one table, {root}")
    if not root.is_dir():
        advice = "Set paths.data_root to the folder that the manifests' paths start from. Is a disk not mounted?"
        return CheckOutcome(ERROR, f"the feature root {root} is not a folder", advice)
    try:
        train = read_training_manifests(config)[0]["train"]
    except InputError:
        return CheckOutcome(OK, f"{root} exists", "Fix the manifests first: they name its files.")
    columns = {"visual": train.visual_paths, "text": train.text_paths}
    used = [columns[kind] for kind in feature_kinds(config)]
    distinct = list(dict.fromkeys(str(path) for column in used if column is not None for path in column))
    sample = distinct[:: max(1, len(distinct) // _SAMPLE)]
    problems = [problem for path in sample if (problem := _problem(config, root, path))]
    if problems:
        observation = f"{len(problems)} of {plural(len(sample), 'sampled file')} cannot be read. First: {problems[0]}"
        return CheckOutcome(ERROR, observation, "Use Check on the Data page, or `check`, to list every such file.")
    return CheckOutcome(OK, f"{len(sample)} of {plural(len(distinct), 'file')} sampled, all readable")


def _problem(config: Config, root: Path, path: str) -> str:
    """Return what is wrong with a feature file; empty when it can be read."""
    try:
        file = find_file(root, path)
        if file is None:
            return f"{path} does not exist in {root}"
        if file.suffix.lower() in vector_suffixes():
            read_vector(file, config.data.feature_key, config.data.pool)
    except CtbenchError as error:
        return str(error)
    return ""


def packs(config: Config) -> CheckOutcome:
    """Find packed stores that no longer match their files, are damaged, or are used by no run."""
    stores = store_usage(pack_cache(config), RunStore(config.paths.outputs_root).runs(kind=None), [config])
    size = format_bytes(sum(pack.store.size for pack in stores))
    summary = f"{plural(len(stores), 'packed store')}, {size}" if stores else "nothing is packed"
    by_state = {state: [pack for pack in stores if pack.state == state] for state in ("outdated", "damaged", "unused")}
    problems = [
        f"{pack.store.folder.name}: {pack.changed:,} of {plural(pack.store.files, 'file')} changed or missing"
        for pack in by_state["outdated"]
    ]
    problems += [f"{pack.store.folder.name} is damaged" for pack in by_state["damaged"]]
    if problems:
        advice = "The next run reads changed files again; `pack` does it now."
        return CheckOutcome(WARNING, "; ".join(problems), advice)
    unused = by_state["unused"]
    if unused:
        freed = format_bytes(sum(pack.store.size for pack in unused))
        return CheckOutcome(OK, f"{summary}; {len(unused)} used by no run, {freed}", "Remove them on the System page.")
    return CheckOutcome(OK, summary)
