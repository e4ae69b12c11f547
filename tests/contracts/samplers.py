"""What every sampler must do: the facts of one study, stopped, killed and continued in every way that happens."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, ClassVar

import optuna
import pytest
from optuna.trial import TrialState

from evolve.search.samplers import DIVERGED, divergence_state, make_sampler
from evolve.search.samplers.history import PAUSED
from evolve.study import Study

SPACE = {
    "lr0": {"low": 1e-4, "high": 10, "log": True},
    "momentum": {"low": 0.5, "high": 0.95, "step": 0.05},
    "schedule": {"choices": ["linear", "cosine", "steps"]},
}
NUMBERS = {name: SPACE[name] for name in ("lr0", "momentum")}
NUM_TRIALS = 12


def study_with(sampler: str, *, seed: int = 1, space: dict[str, Any] | None = None, trials: int = NUM_TRIALS) -> Study:
    """A study with nothing unusual but its sampler."""
    return Study.model_validate(
        {"name": "contract", "sampler": sampler, "seed": seed, "space": space or SPACE, "budget": {"trials": trials}}
    )


def opened(study: Study, storage: Any = None) -> optuna.Study:
    """The study as a new process opens it: with a sampler that remembers nothing."""
    return optuna.create_study(
        study_name=study.name,
        storage=storage,
        sampler=make_sampler(study),
        direction="maximize",
        load_if_exists=True,
    )


def fitness(params: dict[str, Any]) -> float:
    """Best at lr0 0.1, where a cosine helps a little; made up."""
    return float(max(0.0, 0.9 - 0.2 * abs(params["lr0"] - 0.1) ** 0.5 - 0.02 * (params.get("schedule") != "cosine")))


def run(study: Study, search: optuna.Study, num_trials: int) -> list[dict[str, Any]]:
    """Parameters of the next trials, each told before the next is asked; every fifth diverges."""
    asked = []
    for _ in range(num_trials):
        trial = search.ask(fixed_distributions=study.space.distributions())
        asked.append(trial.params)
        if trial.number % 5 == 4:
            tell_diverged(search, trial, divergence_state(study.sampler))
        else:
            search.tell(trial, fitness(trial.params))
    return asked


def tell_diverged(
    search: optuna.Study, trial: optuna.Trial, how: tuple[TrialState, float | None], *, margin: float = 1.0
) -> None:
    """Tells a trial as the runner tells one that diverged."""
    state, value = how
    trial.set_constraint(DIVERGED, margin)
    search.tell(trial, value, state=state)


@pytest.mark.filterwarnings("error")
class SamplerContract:
    """Subclass it as `class TestNew(SamplerContract): name, space = "new", SPACE`."""

    name: ClassVar[str]
    space: ClassVar[dict[str, Any]] = SPACE

    def study(self, *, seed: int = 1) -> Study:
        return study_with(self.name, seed=seed, space=self.space)

    def test_the_same_seed_asks_the_same_trials_and_another_seed_others(self) -> None:
        first, second, third = (run(each, opened(each), NUM_TRIALS) for each in map(self._seeded, (1, 1, 2)))

        assert first == second
        assert first != third

    def test_trials_of_a_study_differ(self) -> None:
        asked = run(self.study(), opened(self.study()), NUM_TRIALS)

        assert len({str(each) for each in asked}) == NUM_TRIALS

    def test_a_stopped_study_goes_on_as_if_it_had_not_been_stopped(self) -> None:
        study, storage = self.study(), optuna.storages.InMemoryStorage()
        unstopped = run(study, opened(study), NUM_TRIALS)

        before = run(study, opened(study, storage), 6)
        after = run(study, opened(study, storage), NUM_TRIALS - 6)

        assert before + after == unstopped

    @pytest.mark.parametrize("num_stored", [0, 1, 2])
    def test_a_trial_killed_while_it_was_asked_gets_the_same_parameters(self, num_stored: int) -> None:
        self.check_kill(num_stored, optuna.storages.InMemoryStorage())

    def test_a_trial_killed_while_it_was_asked_gets_the_same_parameters_from_a_file(self, tmp_path: Path) -> None:
        self.check_kill(1, f"sqlite:///{tmp_path}/study.db")

    def check_kill(self, num_stored: int, storage: Any) -> None:
        """Kills the last trial when some of its parameters are stored, and asks it again."""
        study = self.study()
        unkilled = opened(study)
        asked = run(study, unkilled, NUM_TRIALS)
        opened(study, storage).add_trials(unkilled.get_trials()[:-1])
        killed = opened(study, storage).ask(dict(list(study.space.distributions().items())[:num_stored]))

        reopened = reasked(study, opened(study, storage), killed._trial_id)

        assert reopened.number == NUM_TRIALS - 1
        assert reopened.params == asked[-1]

    def test_asking_again_after_a_kill_does_not_depend_on_later_trials(self) -> None:
        study = self.study()
        search = opened(study)
        run(study, search, NUM_TRIALS - 1)
        killed = search.ask()
        run(study, search, 2)

        reopened = reasked(study, search, killed._trial_id)

        assert reopened.params == run(study, opened(study), NUM_TRIALS)[-1]

    def test_a_sampler_that_lives_on_asks_what_a_fresh_one_asks_while_trials_end_out_of_order(self) -> None:
        study = self.study()
        search, chance = opened(study), Random(0)
        under_way: list[optuna.Trial] = []
        for _ in range(2 * NUM_TRIALS):
            trials = search.get_trials(deepcopy=False)
            under_way.append(search.ask(study.space.distributions()))

            assert make_sampler(study).params(trials, len(trials)) == under_way[-1].params
            while len(under_way) > 4:
                ended = under_way.pop(chance.randrange(len(under_way)))
                if ended.number % 5 == 4:
                    tell_diverged(search, ended, divergence_state(study.sampler))
                else:
                    search.tell(ended, fitness(ended.params))

    def test_values_are_inside_the_space(self) -> None:
        study = self.study()

        for params in run(study, opened(study), NUM_TRIALS):
            assert set(params) == set(study.space)
            assert all(study.space[name].holds(value) for name, value in params.items())
            assert abs(params["momentum"] / 0.05 - round(params["momentum"] / 0.05)) < 1e-6

    @pytest.mark.parametrize("how", [(TrialState.PRUNED, None), (TrialState.COMPLETE, 0.0)])
    def test_a_diverged_trial_is_never_the_best_and_never_an_error(self, how: tuple[TrialState, float | None]) -> None:
        study = self.study()
        search = opened(study)
        for number in range(NUM_TRIALS):
            trial = search.ask(study.space.distributions())
            if number < NUM_TRIALS - 2:
                tell_diverged(search, trial, how)
            else:
                search.tell(trial, 0.0)

        search.ask(study.space.distributions())

        assert search.best_trial.number == NUM_TRIALS - 2

    def test_what_is_stored_as_the_value_of_a_diverged_trial_changes_nothing(self) -> None:
        asked = []
        for how in ((TrialState.PRUNED, None), (TrialState.COMPLETE, 0.0), (TrialState.COMPLETE, 0.99)):
            study = self.study()
            search = opened(study)
            for number in range(NUM_TRIALS - 1):
                trial = search.ask(study.space.distributions())
                if number % 3 == 1:
                    tell_diverged(search, trial, how, margin=0.5)
                else:
                    search.tell(trial, fitness(trial.params))
            asked.append(search.ask(study.space.distributions()).params)

        assert asked[0] == asked[1] == asked[2]

    def test_a_pruned_trial_counts_what_its_early_value_comes_to_and_not_the_value_itself(self) -> None:
        asked = []
        for part in (1 / 2, 1 / 4):  # of its fitness that every trial has after epoch 2
            study = self.study()
            search = opened(study)
            for number in range(NUM_TRIALS - 1):
                trial = search.ask(study.space.distributions())
                value = fitness(trial.params)
                trial.report(part * value, 2)
                if number % 5 == 3:
                    search.tell(trial, state=TrialState.PRUNED)
                else:
                    search.tell(trial, value)
            asked.append(search.ask(study.space.distributions()).params)

        assert asked[0] == asked[1]

    def test_a_trial_that_waits_counts_as_one_that_was_pruned_where_it_waits(self) -> None:
        asked = []
        for waits in (True, False):
            study = self.study()
            search = opened(study)
            for number in range(NUM_TRIALS - 1):
                trial = search.ask(study.space.distributions())
                trial.report(fitness(trial.params) / 2, 2)
                if number % 5 != 3:
                    search.tell(trial, fitness(trial.params))
                elif waits:
                    search._storage.set_trial_system_attr(trial._trial_id, PAUSED, True)
                else:
                    search.tell(trial, state=TrialState.PRUNED)
            asked.append(search.ask(study.space.distributions()).params)

        assert asked[0] == asked[1]

    def test_trials_with_and_without_a_measured_margin_are_one_history(self) -> None:
        study = self.study()
        search = opened(study)
        run(study, search, NUM_TRIALS - 4)  # as an older evolve told them
        for margin in (-2.0, -0.1, 0.1, 3.0):
            trial = search.ask(study.space.distributions())
            if margin > 0:
                tell_diverged(search, trial, divergence_state(study.sampler), margin=margin)
            else:
                trial.set_constraint(DIVERGED, margin)
                search.tell(trial, 0.4)

        asked = search.ask(study.space.distributions()).params

        assert all(study.space[name].holds(value) for name, value in asked.items())

    def test_failed_pruned_running_and_untold_trials_are_no_error(self) -> None:
        study = self.study()
        search = opened(study)
        run(study, search, NUM_TRIALS - 2)
        search.tell(search.ask(study.space.distributions()), state=TrialState.FAIL)
        search.tell(search.ask(study.space.distributions()), state=TrialState.PRUNED)
        search.ask()  # killed before its first parameter
        running = search.ask(study.space.distributions())

        asked = search.ask(study.space.distributions())

        assert asked.params != running.params

    def test_a_baseline_outside_the_space_is_no_error(self) -> None:
        study = self.study()
        search = opened(study)
        search.enqueue_trial({"lr0": 100.0, "momentum": 0.937, "schedule": "linear"})
        with pytest.warns(UserWarning, match="out of range"):
            run(study, search, 1)

        asked = run(study, search, NUM_TRIALS)

        assert all(study.space["lr0"].holds(each["lr0"]) for each in asked)

    def test_a_study_that_minimises_is_refused(self) -> None:
        search = optuna.create_study(sampler=make_sampler(self.study()), direction="minimize")

        with pytest.raises(ValueError, match="minimises; fitness is maximised"):
            search.ask(self.study().space.distributions())

    def test_a_parameter_outside_the_space_is_refused(self) -> None:
        search = opened(self.study())

        with pytest.raises(ValueError, match=r"box over .* is not in the space"):
            search.ask().suggest_float("box", 0.0, 1.0)

    def _seeded(self, seed: int) -> Study:
        return self.study(seed=seed)


def reasked(study: Study, search: optuna.Study, trial_id: int) -> optuna.Trial:
    """A running trial as a new process takes it up again."""
    fresh = optuna.load_study(study_name=study.name, storage=search._storage, sampler=make_sampler(study))
    trial = optuna.trial.Trial(fresh, trial_id)
    for name, distribution in study.space.distributions().items():
        trial._suggest(name, distribution)
    return trial
