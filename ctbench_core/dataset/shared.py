"""Share one feature matrix among many configs: budgets, folds, seeds and label sources of a study.

Shape suffixes: N samples of all manifests, M vectors, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ctbench_core.config import Config
from ctbench_core.dataset.load import (
    Dataset,
    add_split,
    check_width,
    join_inputs,
    load_inputs,
    refuse_unusable,
)
from ctbench_core.dataset.splits import (
    ManifestCache,
    check_paths,
    find_leaks,
    make_splits,
)
from ctbench_core.errors import ConfigError
from ctbench_core.manifest import Manifest
from ctbench_core.progress import Progress


class SharedData:
    """Features loaded once for configs that differ only in budget, fold, seed, label source or head.

    Every manifest of the configs is read, joined and divided once; `dataset` then builds each config's `Dataset` on
    the shared matrix.

    Args:
        configs: all configs that `dataset` may be called with.

    Raises:
        InputError: a manifest is invalid, or the configs do not read the same features.
    """

    def __init__(self, configs: Sequence[Config], progress: Progress | None = None) -> None:
        first, self._cache = configs[0], ManifestCache()
        if any(feature_key(config) != feature_key(first) for config in configs):
            raise ConfigError("These configs read different features. Load each feature root separately.")
        for config in configs:
            check_paths(config)
        distinct = {id(manifest): manifest for config in configs for manifest in self._cache.training(config)}
        self._manifests = {str(at): manifest for at, manifest in enumerate(distinct.values())}
        self._inputs = load_inputs(first, self._manifests, progress)
        self._matrix, self._rows = join_inputs(first, self._inputs)
        self._samples = _samples_by_line(list(self._manifests.values()))

    def dataset(self, config: Config) -> Dataset:
        """Return the dataset of one of the configs, equal to its `load_training`, on the shared matrix.

        Raises:
            InputError: its budget, fold or selection is not possible, or its features are unusable.
        """
        check_width(config, self._matrix)
        splits = make_splits(config, cache=self._cache)
        manifests = {"train": splits.train, "val": splits.val}
        leaks, leak_warnings = find_leaks(config, manifests)
        samples = {name: self._find(manifest) for name, manifest in manifests.items()}
        dataset = Dataset({}, self._matrix, {}, {kind: {} for kind in self._inputs}, selection=splits.selection)
        dataset.widths = [part.dim for part in self._inputs.values()]
        for name, manifest in manifests.items():
            if config.data.on_bad_feature == "fail" and (self._rows[samples[name]] < 0).any():
                refuse_unusable(config, self._manifests, self._inputs)
            add_split(dataset, name, manifest, samples[name], self._rows, self._inputs)
        dataset.leaks, dataset.warnings = leaks, splits.warnings + leak_warnings + dataset.warnings
        return dataset

    def _find(self, manifest: Manifest) -> np.ndarray:
        """Return the position of each row among the N samples."""
        samples = np.empty(len(manifest), dtype=np.int64)
        codes, files = pd.factorize(manifest.files)
        for code, file in enumerate(files):
            samples[codes == code] = self._samples[file][manifest.lines[codes == code]]
        return samples


def feature_key(config: Config) -> tuple[object, ...]:
    """Return the settings that decide the input vectors: configs of one key can share a matrix."""
    data = config.data
    columns = (data.columns.visual_feature, data.columns.text_feature)
    reading = (
        config.paths.data_root,
        data.feature_key,
        data.pool,
        data.store_dtype,
        data.standardise == "l2",
        config.model.inputs,
        columns,
    )
    return (*reading, *data.per_finding.items())


def _samples_by_line(manifests: Sequence[Manifest]) -> dict[str, np.ndarray]:
    """Return, by file, the sample of each line among all samples; a line read twice has the later one."""
    lines: dict[str, dict[int, int]] = {}
    start = 0
    for manifest in manifests:
        lines.setdefault(str(manifest.path), {}).update(
            zip(manifest.lines.tolist(), range(start, start + len(manifest)))
        )
        start += len(manifest)
    samples = {}
    for file, sample_of in lines.items():
        samples[file] = np.full(max(sample_of) + 1, -1, dtype=np.int64)
        samples[file][list(sample_of)] = list(sample_of.values())
    return samples
