"""Logistic regression of all findings at once by L-BFGS; each finding is a convex problem with its own step length.

Minimises, for each finding, mean(w l(x . b, y)) + |b|^2 / (2 c n), the bias free of penalty: scikit-learn's
LogisticRegression(C=c) divided by c n, with w its class weights. It is solved in the eigenbasis of the features'
second moments, where one Hessian fits all findings up to a factor: some 20 products suffice.

Shape suffixes: N volumes, P = D + 1 parameters, C findings.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_STEPS, MEMORY = 300, 12
# A finding has converged at this expected decrease relative to its loss; float32 products resolve no less than 1e-8.
TOLERANCE = {torch.float32: 1e-8, torch.float64: 1e-15}


class LogisticPath:
    """Training rows, prepared once for all penalty strengths."""

    def __init__(self, x_ND: Tensor, labels_NC: Tensor, weights_NC: Tensor, known_NC: Tensor) -> None:
        self.x_ND, self.labels_NC, self.weights_NC = x_ND, labels_NC, weights_NC
        self.count_C = known_NC.sum(dim=0).clamp(min=1).double()
        moment = torch.empty((x_ND.shape[1] + 1,) * 2, dtype=torch.float64, device=x_ND.device)
        moment[:-1, :-1] = x_ND.T @ x_ND
        moment[-1, :-1] = moment[:-1, -1] = x_ND.sum(dim=0)
        moment[-1, -1] = len(x_ND)
        values, self.basis_PP = torch.linalg.eigh(moment / len(x_ND))
        self.values_P = values.clamp(min=0)
        positive = (labels_NC * weights_NC).sum(dim=0, dtype=torch.float64)
        total = weights_NC.sum(dim=0, dtype=torch.float64).clamp(min=1e-12)
        share = (positive / total).clamp(0.02, 0.98)
        self.curvature_C = share * (1 - share) * total / self.count_C

    def fit(
        self,
        c: float,
        start_CP: Tensor | None,
        keep_going: Callable[[], bool] = lambda: True,
        tolerance: float | None = None,
    ) -> tuple[Tensor, float] | None:
        """Return weights with the bias last, float64 (C, P), and the mean training loss; None when stopped.

        Args:
            start_CP: where to start; None = at 0.
            tolerance: expected decrease relative to its loss at which a finding has converged; None = `TOLERANCE`.
        """
        tolerance = TOLERANCE[self.x_ND.dtype] if tolerance is None else tolerance
        penalty_C1 = (1 / (c * self.count_C))[:, None]
        metric_CP = (self.curvature_C[:, None] * self.values_P + penalty_C1).clamp(min=1e-12).sqrt()
        to_weights = lambda v_CP: (v_CP / metric_CP) @ self.basis_PP.T  # noqa: E731
        evaluate = lambda v_CP: self._loss(to_weights(v_CP), penalty_C1, metric_CP)  # noqa: E731
        shape = (len(self.count_C), len(self.values_P))
        start = torch.zeros(shape, dtype=torch.float64, device=self.x_ND.device) if start_CP is None else start_CP
        v_CP = _minimise(evaluate, (start @ self.basis_PP) * metric_CP, tolerance, keep_going)
        if v_CP is None:
            return None
        weights_CP = to_weights(v_CP)
        bare, _ = self._loss(weights_CP, torch.zeros_like(penalty_C1), metric_CP)
        return weights_CP, float((bare * self.count_C).sum() / self.count_C.sum())

    def _loss(self, weights_CP: Tensor, penalty_C1: Tensor, metric_CP: Tensor) -> tuple[Tensor, Tensor]:
        """Return each finding's objective (C,) and its gradient in the basis (C, P)."""
        narrow = weights_CP.to(self.x_ND.dtype)
        z_NC = torch.addmm(narrow[:, -1], self.x_ND, narrow[:, :-1].T)
        # l = softplus(z) - y z
        value_C = (F.softplus(z_NC).addcmul_(self.labels_NC, z_NC, value=-1)).mul_(self.weights_NC)
        slope_NC = torch.sigmoid_(z_NC).sub_(self.labels_NC).mul_(self.weights_NC)
        gradient = torch.empty_like(weights_CP)
        gradient[:, :-1] = slope_NC.T @ self.x_ND
        gradient[:, -1] = slope_NC.sum(dim=0, dtype=torch.float64)
        gradient /= self.count_C[:, None]
        gradient[:, :-1] += penalty_C1 * weights_CP[:, :-1]
        squares = weights_CP[:, :-1].square().sum(dim=1) * penalty_C1[:, 0] / 2
        return value_C.sum(dim=0, dtype=torch.float64) / self.count_C + squares, (gradient @ self.basis_PP) / metric_CP


def _minimise(
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
    v_CP: Tensor,
    tolerance: float,
    keep_going: Callable[[], bool],
) -> Tensor | None:
    """Run L-BFGS on each row as a problem of its own; in this basis the first Hessian is about the identity."""
    value_C, gradient_CP = evaluate(v_CP)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(MAX_STEPS):
        if not keep_going():
            return None
        step_CP = -_inverse_hessian(gradient_CP, pairs)
        slope_C = (step_CP * gradient_CP).sum(dim=1)
        open_C = -slope_C > tolerance * value_C.abs().clamp(min=1e-12)
        if not bool(open_C.any()):
            break
        step_CP[~open_C] = 0
        slope_C[~open_C] = 0
        length_C, new = _line_search(evaluate, v_CP, step_CP, value_C, slope_C)
        moved = length_C[:, None] * step_CP
        change = new[1] - gradient_CP
        product_C = (moved * change).sum(dim=1)
        usable = product_C > 1e-14 * change.square().sum(dim=1).clamp(min=1e-300)
        inverse = torch.where(usable, 1 / torch.where(usable, product_C, 1.0), 0.0)
        pairs = [*pairs[1 - MEMORY :], (moved, change, inverse)]
        v_CP, (value_C, gradient_CP) = v_CP + moved, new
        if not bool((length_C > 0).any()):
            break  # no loss can decrease further at this precision
    return v_CP


def _line_search(
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]], v_CP: Tensor, step_CP: Tensor, value_C: Tensor, slope_C: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Halve each finding's step until its loss falls enough (Armijo); a finding that cannot fall stays."""
    length_C = torch.ones_like(value_C)
    for attempt in range(12):
        new = evaluate(v_CP + length_C[:, None] * step_CP)
        fell = (new[0] <= value_C + 1e-4 * length_C * slope_C) | (slope_C == 0)
        if bool((fell | (length_C == 0)).all()):
            return length_C, new
        length_C = torch.where(fell, length_C, length_C / 2 if attempt < 8 else torch.zeros_like(length_C))
    return length_C, new


def _inverse_hessian(gradient_CP: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Apply the two-loop recursion to every row (Nocedal and Wright, algorithm 7.4)."""
    q, alphas = gradient_CP.clone(), []
    for moved, change, inverse in reversed(pairs):
        alpha = inverse * torch.linalg.vecdot(moved, q)
        q.addcmul_(alpha[:, None], change, value=-1)
        alphas.append(alpha)
    for (moved, change, inverse), alpha in zip(pairs, reversed(alphas)):
        beta = inverse * torch.linalg.vecdot(change, q)
        q.addcmul_((alpha - beta)[:, None], moved)
    return q
