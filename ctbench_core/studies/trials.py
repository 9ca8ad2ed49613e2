"""Keep the trials of a search in Optuna's journal, so that a stopped search continues as if it had never stopped.

Trial n depends on (seed, n) and on the trials of earlier batches alone: the sampler gets a seed for each trial and
sees the trials of its own batch as still running, however far they are. The same holds for pruning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ctbench_core.config import OptunaConfig
from ctbench_core.locks import file_lock
from ctbench_core.stored import reading
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.search import Space

if TYPE_CHECKING:
    import optuna

RUN = "run"  # user attribute of a trial: its run's id


class Trials:
    """All trials of one search, on disk."""

    def __init__(self, paths: StudyPaths, options: OptunaConfig, space: Space, batch: int) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        paths.root.mkdir(parents=True, exist_ok=True)
        journal = str(paths.journal)
        # Optuna's own locks fail on Windows while another process lets go of them.
        lock = cast(
            Any, file_lock(paths.journal.with_name(f"{paths.journal.name}.lock"))
        )  # has the methods of optuna's
        storage = JournalStorage(JournalFileBackend(journal, lock_obj=lock))
        with reading(paths.journal):
            self._study = optuna.create_study(
                storage=storage, study_name="search", direction="maximize", load_if_exists=True
            )
        self._options, self._batch = options, batch
        self._space = space.distributions()

    def all(self) -> list[optuna.trial.FrozenTrial]:
        """Return every trial in order."""
        return self._study.get_trials(deepcopy=False)

    def is_open(self, number: int) -> bool:
        """Whether a trial exists and has not ended."""
        return self.all()[number].state.name == "RUNNING"

    def ask(self, number: int) -> None:
        """Create trial ``number`` unless it exists."""
        if number < len(self.all()):
            return
        view = self._earlier_batches(number)
        for trial in self.all()[self._first_of_batch(number) : number]:
            view.add_trial(_running(trial))
        # One entry of the journal: a kill leaves either the whole trial or none.
        self._study.add_trial(_running(view.ask(self._space)))

    def _first_of_batch(self, number: int) -> int:
        return number - number % self._batch

    def _earlier_batches(self, number: int) -> optuna.Study:
        """Return a study in memory that holds the trials of the batches before that of trial ``number``."""
        import optuna

        seed = (self._options.seed * 1_000_003 + number) % 2**32
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        view = optuna.create_study(direction="maximize", sampler=sampler, pruner=self._pruner())
        view.add_trials(self.all()[: self._first_of_batch(number)])
        return view

    def _pruner(self) -> optuna.pruners.BasePruner:
        import optuna

        if self._options.disable_pruning:
            return optuna.pruners.NopPruner()
        return optuna.pruners.MedianPruner(
            self._options.pruner_startup_trials, self._options.pruner_warmup_steps, self._options.pruner_interval_steps
        )

    def set_run(self, number: int, run: str) -> None:
        """Store the id of a trial's run."""
        self._handle(number).set_user_attr(RUN, run)

    def _handle(self, number: int) -> optuna.trial.Trial:
        import optuna

        return optuna.trial.Trial(self._study, self.all()[number]._trial_id)

    def pruner(self, number: int) -> TrialPruner:
        """Return the pruner of a trial."""
        return TrialPruner(self._earlier_batches(number), self.all()[number])

    def tell(self, number: int, pruner: TrialPruner, value: float, failed: bool) -> None:
        """End a trial as pruned, failed, or with its value, and store its epochs for the pruning of later trials."""
        from optuna.trial import TrialState

        known = self.all()[number].intermediate_values
        handle = self._handle(number)
        for step, reported in pruner.reported.items():
            if step not in known:  # those that were stored before a kill are not stored twice
                handle.report(reported, step)
        if failed or math.isnan(value):
            self._study.tell(number, state=TrialState.FAIL)
        elif pruner.pruned:
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, value)


class TrialPruner:
    """Compares the epochs of one trial with those of earlier batches, and prunes it when it is worse."""

    def __init__(self, view: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        view.enqueue_trial(trial.params)
        self._trial = view.ask(trial.distributions)
        self.pruned = False
        self.reported: dict[int, float] = {}

    def epoch(self, step: int, value: float) -> bool:
        """Report the metric of an epoch; return whether the trial is pruned. Later epochs are ignored then."""
        if self.pruned or step in self.reported or math.isnan(value):
            return self.pruned
        self.reported[step] = value
        self._trial.report(value, step)
        self.pruned = self._trial.should_prune()
        return self.pruned


def _running(trial: optuna.trial.BaseTrial) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    return create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)


def parameter_importance(trials: list[optuna.trial.FrozenTrial]) -> Mapping[str, float]:
    """Return the share of the variance of values that each parameter explains (fANOVA), largest first.

    Empty for fewer than four finished trials, or equal values.
    """
    import optuna

    ended = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if len(ended) < 4 or len({trial.value for trial in ended}) < 2:
        return {}
    study = optuna.create_study(direction="maximize")
    study.add_trials(ended)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def trial_row(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return the row of a trial in tables."""
    best = max(trial.intermediate_values.values(), default=math.nan)
    state = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
    return {
        "trial": trial.number,
        "state": state.get(trial.state.name, "waiting"),
        "value": trial.value if trial.state.name == "COMPLETE" and trial.value is not None else best,
        "epochs": max(trial.intermediate_values, default=0),
        "run": trial.user_attrs.get(RUN, ""),
        **trial.params,
    }
