"""What every pruner must do with trials that report their fitness after each epoch."""

from __future__ import annotations

from typing import ClassVar

import optuna
import pytest

from evolve.search.pruners import decide, make_pruner
from evolve.study import Study
from evolve.study.trial import Decision

EPOCHS = 10
NUM_TRIALS = 20


def study_with(pruner: str, *, epochs: int = EPOCHS) -> Study:
    """A study with nothing unusual but its pruner."""
    return Study.model_validate(
        {
            "name": "contract",
            "pruner": pruner,
            "epochs": epochs,
            "space": {"momentum": {"low": 0, "high": 0.9}},
            "budget": {"trials": NUM_TRIALS},
        }
    )


def opened(study: Study) -> optuna.Study:
    """The study as a new process opens it."""
    return optuna.create_study(study_name=study.name, direction="maximize", pruner=make_pruner(study))


def asked(search: optuna.Study, trial: optuna.Trial) -> Decision:
    """The decision after the last epoch that a trial reported."""
    trials = search.get_trials(deepcopy=False)
    return decide(search.pruner, trials[trial.number], trials, study=search.study_name)


def apply(search: optuna.Study, trial: optuna.Trial, decision: Decision) -> None:
    """Writes to a trial what the pruner keeps with it."""
    for key, value in decision.attributes.items():
        search._storage.set_trial_system_attr(trial._trial_id, key, value)


def train(search: optuna.Study, final: float, *, epochs: int = EPOCHS) -> int | None:
    """Runs a trial that rises evenly to its final fitness; the epoch it was stopped after, or None."""
    trial = search.ask()
    for epoch in range(epochs):
        fitness = final * (epoch + 1) / epochs
        trial.report(fitness, epoch)
        decision = asked(search, trial)
        apply(search, trial, decision)
        if decision.is_pruned:
            search.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return epoch
    search.tell(trial, final)
    return None


def finals(num_trials: int) -> list[float]:
    """Final fitness of a row of trials, good and bad in turn."""
    return [0.3 + 0.6 * ((7 * number) % 20) / 20 for number in range(num_trials)]


class PrunerContract:
    """Subclass it as `class TestNew(PrunerContract): name = "new"`."""

    name: ClassVar[str]
    # Share of clearly bad trials that are stopped.
    least_stopped: ClassVar[float] = 1.0
    most_stopped: ClassVar[float] = 1.0

    def test_clearly_bad_trials_are_stopped_before_the_last_epoch(self) -> None:
        search = opened(study_with(self.name))
        for final in finals(NUM_TRIALS):
            train(search, final)

        stopped = [each for each in (train(search, 0.01) for _ in range(12)) if each is not None]

        assert all(0 < each < EPOCHS - 1 for each in stopped)
        assert self.least_stopped * 12 <= len(stopped) <= self.most_stopped * 12

    def test_a_trial_that_leads_at_every_epoch_is_never_stopped(self) -> None:
        search = opened(study_with(self.name))

        stopped = [train(search, 0.3 + 0.02 * number) for number in range(NUM_TRIALS)]

        assert stopped == [None] * NUM_TRIALS

    def test_the_same_reports_stop_the_same_trials_in_a_new_process(self) -> None:
        study = study_with(self.name)
        search, stopped = opened(study), []
        for final in finals(NUM_TRIALS):
            fresh = optuna.load_study(study_name=study.name, storage=search._storage, pruner=make_pruner(study))
            stopped.append(train(fresh, final))

        together = opened(study)
        assert stopped == [train(together, final) for final in finals(NUM_TRIALS)]

    @pytest.mark.parametrize("fitness", [float("nan"), float("inf"), float("-inf")])
    def test_a_fitness_that_is_not_finite_is_refused(self, fitness: float) -> None:
        search = opened(study_with(self.name))
        trial = search.ask()
        trial.report(fitness, 3)

        with pytest.raises(ValueError, match=r"trial 0, epoch 3: fitness .* is not finite"):
            asked(search, trial)

    @pytest.mark.parametrize("epochs", [1, 2, 3, 100])
    def test_trainings_of_any_length_are_no_error_and_the_last_epoch_stops_nothing(self, epochs: int) -> None:
        search = opened(study_with(self.name, epochs=epochs))

        stopped = [train(search, final, epochs=epochs) for final in [*finals(8), 0.01, 0.01]]

        assert epochs - 1 not in stopped

    def test_asked_again_before_the_decision_is_applied_the_answer_is_the_same(self) -> None:
        search = opened(study_with(self.name))
        for final in finals(NUM_TRIALS):
            train(search, final)
        trial = search.ask()

        for epoch in range(EPOCHS):
            trial.report(0.01, epoch)
            first, second = (asked(search, trial) for _ in range(2))

            assert first == second
            apply(search, trial, first)

    def test_a_trial_without_a_report_goes_on(self) -> None:
        search = opened(study_with(self.name))

        assert not search.ask().should_prune()
