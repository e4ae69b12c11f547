"""What Tune's controller asks: the next trial, what to do after a result, and who has got a process."""

from __future__ import annotations

from math import isfinite
from typing import Any, final

from ray.tune import Callback
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from evolve.run.engines.ray.exchange import Exchange, Training
from evolve.run.engines.ray.schedulers import EPOCH, FITNESS, Scheduler, Stopping
from evolve.run.engines.ray.training import EVENTS, TRIAL
from evolve.study.trial import Trial


@final
class Submitted(Searcher):
    """Hands out the trials that the study's run has submitted; it searches nothing.

    Args:
        exchange: Exchange to which the run submits them.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def suggest(self, trial_id: str) -> Any:  # noqa: ARG002 - learned with `on_trial_add`, together with the trial
        """A configuration, None where there is nothing to train now, or that the search is over."""
        trial = self._exchange.take()
        if trial is None:
            return Searcher.FINISHED if self._exchange.is_closed else None
        return {**trial.params, TRIAL: trial}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the scheduler has passed it on."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's database is what a run goes on from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


@final
class Decisions(FIFOScheduler):
    """Passes results on to the study's run and its decisions back; then a scheduler of Tune's may be asked.

    Args:
        exchange: Exchange at which the run listens.
        stopping: Name of the scheduler, for the record, and epochs of a training: after the last, nothing is stopped.
        scheduler: Scheduler of Tune's that is asked after each epoch, where the run lets the trial go on; None for
            none.
    """

    _supports_buffered_results = False

    def __init__(self, exchange: Exchange, stopping: Stopping, *, scheduler: Scheduler | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._exchange, self._stopping, self._inner = exchange, stopping, scheduler
        self._reason = f"was not enough: stopped by Tune's {stopping.scheduler}"

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        """Notes which of Tune's trials trains which of the study's."""
        ours: Trial = trial.config[TRIAL]
        self._exchange.added(trial.trial_id, Training(trial=ours, ray_trial=trial))
        if self._inner is not None:
            self._inner.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """Whether the trial goes on, after its events have been passed on."""
        place = f"Ray trial {trial.trial_id} on {result['hostname']} ({result['node_ip']}), process {result['pid']}"
        passed = self._exchange.passed(trial.trial_id, result[EVENTS], place)
        if not passed.goes_on:
            return str(TrialScheduler.STOP)
        if passed.has_checkpoint and self._inner is not None:
            return self._asked(self._inner, tune_controller, trial)
        return str(TrialScheduler.CONTINUE)

    def _asked(self, inner: Scheduler, tune_controller: Any, trial: RayTrial) -> str:
        training = self._exchange.trainings[trial.trial_id]
        if training.epochs >= self._stopping.epochs or not isfinite(training.fitness):
            return str(TrialScheduler.CONTINUE)
        action = inner.on_trial_result(tune_controller, trial, _facts(training))
        if action == TrialScheduler.STOP:
            self._exchange.stop(trial.trial_id, self._reason)
        return action

    def on_trial_complete(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> None:
        """Called for every trial that ran and was stopped; how it ended has been passed on."""
        if self._inner is not None:
            self._inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: RayTrial) -> None:
        """Called for a trial that is stopped while it does not run, as Tune's schedulers do with paused ones."""
        if self._inner is not None:
            self._inner.on_trial_remove(tune_controller, trial)
        self._exchange.stop(trial.trial_id, self._reason)

    def on_trial_error(self, tune_controller: Any, trial: RayTrial) -> None:
        """Called for a trial whose process is lost; what a training raises is an event of its own."""
        if self._inner is not None:
            self._inner.on_trial_error(tune_controller, trial)
        self._exchange.lose(trial.trial_id, _reason(trial))

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        """The next trial without a process. Asked in each round, so this is also where everything is ended."""
        if self._exchange.is_closed:
            for trial in tune_controller.get_live_trials():
                tune_controller.stop_trial(trial)
            return None
        chosen: RayTrial | None = (
            super().choose_trial_to_run(tune_controller)
            if self._inner is None
            else self._inner.choose_trial_to_run(tune_controller)
        )
        return chosen

    def debug_string(self) -> str:
        """For Tune's own messages, which are off."""
        return "decided by evolve"


@final
class Observer(Callback):
    """Notes when a trial gets its process, and drops its events from what Tune keeps of results.

    Args:
        exchange: Exchange in which that is noted.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def on_trial_start(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:  # noqa: ARG002
        """Called for each process that begins with a trial, or goes on with one."""
        self._exchange.began(trial.trial_id)

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[RayTrial],  # noqa: ARG002
        trial: RayTrial,  # noqa: ARG002
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Called after the scheduler has been asked, before the result is kept."""
        result.pop(EVENTS, None)


def _facts(training: Training) -> dict[str, Any]:
    return {EPOCH: training.epochs, FITNESS: training.fitness}


def _reason(trial: RayTrial) -> str:
    """What Tune wrote about the loss: its text, and never its pickle."""
    try:
        with open(trial.error_file, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a path as text, or None
            text = file.read()
    except (OSError, TypeError):
        text = ""
    detail = "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("Failure #"))
    return f"worker process was lost: {detail}" if detail else "worker process was lost"
