"""Share test sets among runs that are evaluated one after the other, as those of a bank."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from ctbench_core.config import Config
from ctbench_core.dataset.load import Dataset, load_dataset
from ctbench_core.dataset.shared import feature_key
from ctbench_core.manifest import Manifest
from ctbench_core.progress import Progress

_KEPT = 4  # label sources of a study; each of its folds is another test set


class SharedTests:
    """Test sets whose features are loaded once for all runs that have them in common."""

    def __init__(self) -> None:
        self._loaded: dict[Hashable, tuple[Dataset, Mapping[str, Manifest]]] = {}

    def load(self, config: Config, manifests: Mapping[str, Manifest], progress: Progress | None = None) -> Dataset:
        """Load test sets as `load_dataset` does; do not change the dataset.

        Args:
            manifests: as read; a file that has not changed is read as the same object.
        """
        own = (config.data.on_bad_feature, config.model.params.in_features)
        key = (feature_key(config), own, tuple((name, id(manifest)) for name, manifest in manifests.items()))
        if key not in self._loaded:
            if len(self._loaded) == _KEPT:
                del self._loaded[next(iter(self._loaded))]
            # The manifests are kept beside it, so that no other one gets their ids.
            self._loaded[key] = load_dataset(config, dict(manifests), progress), manifests
        return self._loaded[key][0]
