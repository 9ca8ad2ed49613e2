"""Compare a linear head, stopped early, with the optimum of its own convex problem.

The optimum minimises the run's loss on the same rows with the same class weights and penalty: `LogisticPath` with
C = 1 / (weight_decay n), n the known labels of the training rows. A run without such a penalty has no bounded optimum
where a finding is separable; it is compared at the weakest penalty that ``model=logistic`` tries by default, C = 100
for features of unit norm (divided by their mean squared norm). AdamW's decay is no penalty of the loss (Loshchilov and
Hutter, ICLR 2019) and counts as none.

Runs of equal rows, weights and penalty share one optimum.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctbench_core.config import Config, get_key
from ctbench_core.declared import LOSSES, head_of
from ctbench_core.inference import MIN_PATIENTS
from ctbench_core.manifest import Manifest
from ctbench_core.metrics import metric_values
from ctbench_core.runs import Convergence
from ctbench_core.train.inputs import DeviceFeatures, Rows
from ctbench_core.train.logistic import LogisticPath
from ctbench_core.train.losses import element_weights, known_labels

WEAKEST_C = 100.0
TOLERANCE = 1e-3  # relative decrease of a finding's loss at which its fit stops; moves macro AUPRC by some .001
MOST_BYTES = 2**30  # of the training rows, which the fit holds in memory
RECENT = 5  # epochs whose mean training loss is compared with that of as many before


def has_optimum(config: Config) -> bool:
    """Whether a config's training is one logistic regression: a linear head on shared features, and cross-entropy."""
    is_linear = (
        head_of(config.model).name == "linear" and config.model.inputs != "gated" and not config.data.per_finding
    )
    return is_linear and LOSSES.resolve(config.training.loss._target_).logistic


def still_falls(losses: Sequence[float]) -> bool:
    """Whether the mean training loss of the last epochs lies below that of as many before."""
    count = min(RECENT, len(losses) // 2)
    return not count or sum(losses[-count:]) < sum(losses[-2 * count : -count])


@dataclass(frozen=True)
class LinearRun:
    """What a run's optimum depends on: its config, its rows on both sides, and the weights of positives (C,).

    ``known`` is the number of known labels over all findings that the run's mean loss is taken over.
    """

    config: Config
    features: DeviceFeatures
    train: Rows
    val: Rows
    pos_weight_C: Tensor | None
    known: int

    @property
    def smoothing(self) -> float:
        """Label smoothing of its loss."""
        return float(get_key(self.config, "training.loss.smoothing"))

    def penalty(self) -> float:
        """Return the inverse penalty C of the run's weight decay; infinite without one."""
        decay = self.config.training.weight_decay if self.config.training.optimizer != "adamw" else 0.0
        return 1 / (decay * self.known) if decay else math.inf

    def findings(self, chosen: np.ndarray) -> LinearRun:
        """Return the run of the marked findings (C,) alone: each is a problem of its own at the run's penalty."""
        columns = torch.as_tensor(np.flatnonzero(chosen), device=self.train.targets.device)
        train, val = (dataclasses.replace(rows, targets=rows.targets[:, columns]) for rows in (self.train, self.val))
        weight_C = None if self.pos_weight_C is None else self.pos_weight_C[columns]
        return LinearRun(self.config, self.features, train, val, weight_C, self.known)

    def digest(self) -> bytes:
        """Return what runs of one optimum share."""
        numbers = torch.tensor([self.penalty(), self.smoothing], dtype=torch.float64)
        parts = (self.train.rows, self.train.targets, self.val.rows, self.val.targets, self.pos_weight_C, numbers)
        content = b"|".join(b"" if part is None else part.cpu().numpy().tobytes() for part in parts)
        return hashlib.blake2b(content).digest()


def compare_with_optimum(
    run: LinearRun, val: Manifest, auprc: Mapping[str, float], losses: Sequence[float], keep_going: Callable[[], bool]
) -> Convergence | None:
    """Compare a run's best epoch on validation with its optimum; None when stopped.

    Args:
        val: the validation rows. Findings with fewer than 10 patients of a class there are left out: their AUPRC would
            say more of the draw of these patients than of the fit.
        auprc: of the run, by finding.
        losses: the training losses of its last epochs.
    """
    falling, chosen = still_falls(losses), _judged(val)
    if not chosen.any():
        return Convergence(falling=falling, reason=f"no finding has {MIN_PATIENTS} validation patients of each class")
    size = len(run.train.rows) * run.features.width * run.train.targets.element_size()
    if size > MOST_BYTES:
        reason = f"its fit would hold {size / 2**30:.1f} GiB of training rows, more than {MOST_BYTES / 2**30:.0f} GiB"
        return Convergence(falling=falling, reason=reason)
    optima, digest = run.features.optima, run.digest()
    if digest not in optima:
        with torch.inference_mode():
            judged = run.findings(chosen)
            fitted = _fit(judged, keep_going)
            if fitted is None:
                return None
            optima[digest] = float(_auprc(judged, fitted[0]).mean()), fitted[1]
    optimum, c = optima[digest]
    own = np.mean([auprc[label] for label, is_judged in zip(val.labels, chosen) if is_judged])
    return Convergence(float(own), optimum, c, int(chosen.sum()), falling)


def _judged(val: Manifest) -> np.ndarray:
    """Mark the findings with enough patients of each class (C,)."""
    counts = [[len(set(val.patients[column == kind])) for kind in (0, 1)] for column in val.targets.T]
    return np.min(counts, axis=1) >= MIN_PATIENTS


def _fit(run: LinearRun, keep_going: Callable[[], bool]) -> tuple[Tensor, float] | None:
    """Return the optimum's weights with the bias last (C, D + 1), and its C; None when stopped."""
    targets = run.train.targets
    x_ND = run.features.take(run.train.rows, run.train.scaler).to(targets.dtype, copy=True)
    c = min(run.penalty(), WEAKEST_C / max(float(x_ND.square().sum(dim=1).mean()), 1e-12))
    labels, known = known_labels(targets)
    weights, smoothing = element_weights(labels, known, run.pos_weight_C), run.smoothing
    axes_RD = None
    if 2 * len(x_ND) < x_ND.shape[1]:  # the weights lie in the span of the rows, whose coordinates are few
        u_NR, size_R, axes_RD = torch.linalg.svd(x_ND.double(), full_matrices=False)
        x_ND = (u_NR * size_R).to(x_ND.dtype)
    path = LogisticPath(x_ND, labels * (1 - smoothing) + smoothing / 2, weights, known)
    result = path.fit(c, None, keep_going, TOLERANCE)
    if result is None:
        return None
    weights_CP, _ = result
    if axes_RD is not None:
        weights_CP = torch.cat([weights_CP[:, :-1] @ axes_RD, weights_CP[:, -1:]], dim=1)
    return weights_CP, c


def _auprc(run: LinearRun, weights_CP: Tensor) -> np.ndarray:
    """Return the AUPRC of each finding on the validation rows (C,)."""
    x_ND = run.features.take(run.val.rows, run.val.scaler).double()
    scores = torch.sigmoid(torch.addmm(weights_CP[:, -1], x_ND, weights_CP[:, :-1].T)).cpu().numpy()
    return metric_values(["auprc"], run.val.targets.cpu().numpy(), scores)["auprc"]
