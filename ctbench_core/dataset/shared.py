"""One feature matrix for many configs: budgets, folds, seeds and label sources of a study.

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
    digest_of,
    join_inputs,
    load_inputs,
    refuse_unusable,
)
from ctbench_core.dataset.splits import (
    Sources,
    check_places,
    make_splits,
    mark_leaks,
    names_of_tests,
    read_test_manifests,
)
from ctbench_core.errors import ConfigError
from ctbench_core.manifest import Manifest
from ctbench_core.progress import Progress


class SharedData:
    """Features loaded once for configs that differ in budget, fold, seed, label source or head only.

    Every manifest that any of the configs names is read, joined and divided once; `dataset` then makes
    each config's `Dataset` on the one matrix.

    Args:
        configs: all that `dataset` will be asked for.
        tests: whether the test sets are loaded too, as further splits of each dataset.

    Raises:
        InputError: a manifest is at fault, or the configs do not read the same features.
    """

    def __init__(self, configs: Sequence[Config], progress: Progress | None = None, *, tests: bool = False) -> None:
        first, self._tests, self._sources = configs[0], tests, Sources()
        if any(feature_key(config) != feature_key(first) for config in configs):
            raise ConfigError("These configs read different features. Load each feature root by itself.")
        for config in configs:
            check_places(config)
        read = {id(manifest): manifest for config in configs for manifest in self._read(config)}
        self._manifests = {str(at): manifest for at, manifest in enumerate(read.values())}
        self._inputs = load_inputs(first, self._manifests, progress)
        self._matrix, self._rows = join_inputs(first, self._inputs)
        self._samples = _samples_by_line(list(self._manifests.values()))

    def _read(self, config: Config) -> list[Manifest]:
        """Read a config's manifests whole: what is chosen of them is no matter here."""
        given = self._sources.given(config)
        tests = names_of_tests(config, files_only=True) if self._tests else []
        return given + [self._sources.read(config, name, given[0].labels) for name in tests]

    def dataset(self, config: Config) -> Dataset:
        """Return the dataset of one of the configs: equal to `load_training` of it, on the shared matrix.

        Raises:
            InputError: its budget, fold or selection is not possible, or its features are unusable.
        """
        check_width(config, self._matrix)
        splits = make_splits(config, sources=self._sources)
        manifests = {"train": splits.train, "val": splits.val}
        if self._tests:
            files = names_of_tests(config, files_only=True)
            manifests |= read_test_manifests(config, splits.train.labels, files, self._sources)
            if splits.fold is not None and splits.fold.name in names_of_tests(config):
                manifests[splits.fold.name] = splits.fold
        leaks, leak_warnings = mark_leaks(config, manifests)
        samples = {name: self._find(manifest) for name, manifest in manifests.items()}
        digest = digest_of(self._inputs, np.concatenate([samples["train"], samples["val"]]))
        dataset = Dataset({}, self._matrix, {}, digest, selection=splits.selection)
        dataset.widths = [part.dim for part in self._inputs.values()]
        for name, manifest in manifests.items():
            rows = self._rows[samples[name]]
            if config.data.on_bad_feature == "fail" and (rows < 0).any():
                refuse_unusable(config, self._manifests, self._inputs)
            add_split(dataset, name, manifest, rows)
        dataset.leaks, dataset.warnings = leaks, splits.warnings + leak_warnings + dataset.warnings
        return dataset

    def _find(self, manifest: Manifest) -> np.ndarray:
        """Return the place of each row among the N samples."""
        found = np.empty(len(manifest), dtype=np.int64)
        codes, files = pd.factorize(manifest.files)
        for code, file in enumerate(files):
            found[codes == code] = self._samples[file][manifest.lines[codes == code]]
        return found


def feature_key(config: Config) -> tuple[object, ...]:
    """Return what decides the input vectors: configs of one key can share a matrix."""
    data = config.data
    columns = (data.columns.visual_feature, data.columns.text_feature)
    return (config.paths.data_root, data.feature_key, data.pool, data.standardise == "l2", config.model.inputs, columns)


def _samples_by_line(manifests: Sequence[Manifest]) -> dict[str, np.ndarray]:
    """Return, by file, the place of each line among all samples; a line read twice has the later one."""
    lines: dict[str, dict[int, int]] = {}
    start = 0
    for manifest in manifests:
        lines.setdefault(str(manifest.path), {}).update(
            zip(manifest.lines.tolist(), range(start, start + len(manifest)))
        )
        start += len(manifest)
    found = {}
    for file, places in lines.items():
        found[file] = np.full(max(places) + 1, -1, dtype=np.int64)
        found[file][list(places)] = list(places.values())
    return found
