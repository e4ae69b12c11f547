"""The search of a study: what its sampler and pruner say about its trials, stored for Optuna and us at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import sqrt
from statistics import stdev
from typing import TYPE_CHECKING, Any, final

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.trial import FrozenTrial, TrialState

from evolve.errors import StorageError
from evolve.outcome.margin import divergence_margin
from evolve.outcome.training import TrialOutcome
from evolve.outcome.verdict import Verdict
from evolve.outcome.warnings import Foreseen
from evolve.run.foreseeing import Foresight
from evolve.run.promoting import Promotions
from evolve.search.pruners import FORETOLD, decide, make_pruner
from evolve.search.samplers import DIVERGED, STANDARD_ERROR, divergence_state, make_sampler
from evolve.search.samplers.history import Suggestion, is_paused
from evolve.storage.database import Storage
from evolve.storage.optuna_tables import FIXED_PARAMS, PARENT
from evolve.storage.trials import TakenError
from evolve.study import FORESEEING, PROMOTION, Study
from evolve.study.earlier import Earlier
from evolve.study.population import lineage
from evolve.study.trial import Decision, Record, Trial

if TYPE_CHECKING:
    from evolve.ablation.interim import Ending

# Others may add trials between two looks; nobody does so again and again.
ASK_ATTEMPTS = 5


@dataclass(slots=True, kw_only=True)
class Begun:
    """A trial that trains in this run.

    Attributes:
        trial: Trial as it is trained: its parameters, seeds and epochs.
        stored: The same trial as Optuna sees it.
        is_resumed: Whether the trial had begun before this run, or waited to be promoted.
        decisions: Decisions on the trial so far, by index of the epoch after which they were made.
        refusal: Why the trial cannot be trained as somebody asked for it; empty where it can.
    """

    trial: Trial
    stored: FrozenTrial
    is_resumed: bool
    decisions: dict[int, Decision]
    refusal: str = ""

    @property
    def trial_id(self) -> int:
        """Optuna's id of the trial."""
        return self.stored._trial_id


@final
class Search:
    """Asks the sampler for trials, decides with the pruner whether they go on, and tells Optuna how they ended.

    Args:
        study: Definition of the study.
        storage: Database that keeps its trials.
        environment_id: Row of packages and machine that `Storage.keep_environment` returned.
        earlier: Trials of earlier searches that a new study begins with; one that is stored keeps those it has.

    Raises:
        StorageError: The study is stored with another definition.
        StudyError: The sampler needs a package that is not installed.
    """

    def __init__(self, study: Study, storage: Storage, *, environment_id: str, earlier: Sequence[Earlier] = ()) -> None:
        self._study, self._storage, self._environment_id = study, storage, environment_id
        stored = storage.earlier(study.name)
        self._sampler = make_sampler(study, earlier if stored is None else stored)
        self._pruner = make_pruner(study)
        self._foresight = Foresight(storage.records, study)
        self._optuna = storage.open_study(study, self._sampler, self._pruner)
        if stored is None and earlier:
            storage.keep_earlier(self.study_id, earlier)
        self._arm_plan = study.arm_plan
        self._endings: dict[int, Mapping[str, Ending]] = {}  # by look, once the looks before it are complete
        self._distributions: dict[str, BaseDistribution] = study.space.distributions()
        promotes = study.pruner == PROMOTION
        looks_back = self._sampler.looks_back or self._pruner.compares or promotes
        self._trials = storage.trials(self.study_id, holds_ended=looks_back)
        self._promotions = Promotions(study, storage, self._trials, self.study_id) if promotes else None

    @property
    def study_id(self) -> int:
        """Optuna's id of the study."""
        return int(self._optuna._study_id)

    @property
    def num_asked(self) -> int:
        """Number of trials that have begun, in this run and others."""
        return self._trials.count - len(self._trials.waiting())

    @property
    def awaits_earlier(self) -> bool:
        """Whether the next trial follows from earlier ones that still train: an arm's tuning, or the look before.

        Or, in a population, the generation before.
        """
        if (members := self._study.population) is not None:
            before = members.generation_before(self._trials.count)
            return any(trial.number in before for trial in self._trials.running())
        plan = self._arm_plan
        if plan is None or self._trials.count < plan.num_tuning:
            return False
        first = plan.first_of(plan.look_of(self._trials.count))
        return any(trial.number < first for trial in self._trials.running())

    def open(self) -> list[FrozenTrial]:
        """Reads what is stored; a study without trials gets its baseline.

        Returns:
            Trials that an earlier run left behind, without those that wait to be promoted. Optuna is told of those
            that had ended.
        """
        self._trials.refresh()
        if self._study.baseline and not self._trials.count:
            self._optuna.enqueue_trial(self._study.baseline_params())
            self._trials.refresh()
        left = []
        for stored in self._trials.running():
            outcome = self._storage.outcome(stored._trial_id)
            if outcome is None:
                left.append(stored)
            elif not is_paused(stored):  # of an older evolve, whose outcome and Optuna's were two transactions
                self.tell(stored, outcome)
        return left

    def fitness_by_epoch(self) -> dict[int, dict[int, float]]:
        """Fitness after each epoch of every trial that has begun, by its number."""
        trials = self._optuna.get_trials(deepcopy=False)
        return {trial.number: dict(trial.intermediate_values) for trial in trials if trial.intermediate_values}

    # Asking

    def ask(self) -> Begun:
        """Begins the next trial: one that waits, else a new one."""
        for _ in range(ASK_ATTEMPTS):
            self._trials.refresh()
            with suppress(TakenError), self._storage.transactions.together():
                waiting = self._trials.waiting()
                return self._take_up(waiting[0]) if waiting else self._new()
        raise StorageError(f"study {self._study.name}: others add trials faster than it can ask")

    def resume(self, stored: FrozenTrial) -> Begun:
        """Goes on with a trial that an earlier run left behind, under its own number."""
        with self._storage.transactions.together():
            return self._take_up(stored)

    def promoted(self, *, is_last: bool) -> Begun | None:
        """Goes on with a trial that waits, from its checkpoint; None where none is promoted.

        Args:
            is_last: Whether nothing trains and no trial is to come.
        """
        if self._promotions is None or (stored := self._promotions.next(is_last=is_last)) is None:
            return None
        with self._storage.transactions.together():
            self._promotions.promote(stored)
            return self._take_up(stored)

    def _new(self) -> Begun:
        found = self._sampler.suggestion(self._trials.held(), self._trials.count)
        stored = self._trials.add(dict(found.params), self._distributions)
        self._keep_parent(stored, found)
        return self._begun(stored)

    def _take_up(self, stored: FrozenTrial) -> Begun:
        """Begins a stored trial, with parameters that it has or somebody has fixed, and only then the sampler's."""
        known = stored.system_attrs.get(FIXED_PARAMS, {}) | stored.params
        if refusal := self._refusal(stored, known):
            return replace(self._begun(self._trials.take_up(stored, {}, {})), refusal=refusal)
        chosen: Mapping[str, Any] = {}
        if not self._distributions.keys() <= known.keys():
            found = self._sampler.suggestion(self._trials.held(), stored.number)
            chosen = found.params
            self._keep_parent(stored, found)
        params = {name: known.get(name, chosen.get(name)) for name in self._distributions}
        return self._begun(self._trials.take_up(stored, params, self._distributions))

    def _refusal(self, stored: FrozenTrial, known: Mapping[str, Any]) -> str:
        """Why a trial has parameters that Optuna cannot keep for this study; empty where it can."""
        for name, distribution in self._distributions.items():
            try:
                if name in stored.distributions:
                    check_distribution_compatibility(stored.distributions[name], distribution)
                if name in known:
                    distribution.to_internal_repr(known[name])
            except ValueError as error:
                asked = f"{name}: {known[name]!r} was asked for, and is no value of {distribution}"
                return f"trial {stored.number}: {asked}: {error}"
        return ""

    def _keep_parent(self, stored: FrozenTrial, found: Suggestion) -> None:
        if found.parent is not None:
            self._trials.keep(stored, {PARENT: found.parent})

    def _begun(self, stored: FrozenTrial) -> Begun:
        trial_id, number = stored._trial_id, stored.number
        is_resumed = not self._storage.begin_trial(
            trial_id, study_id=self.study_id, number=number, environment_id=self._environment_id
        )
        params = {name: stored.params[name] for name in self._distributions if name in stored.params}
        return Begun(
            trial=Trial(
                study=self._study.name,
                number=number,
                params=params,
                trains_every_seed=self._arm_plan is not None,
                **self._place_of(stored),
            ),
            stored=stored,
            is_resumed=is_resumed,
            decisions=self._storage.ledger.decisions(trial_id) if is_resumed else {},
        )

    def _place_of(self, stored: FrozenTrial) -> dict[str, Any]:
        """Which seeds a trial trains with, where it begins and where it ends."""
        seeds, members = self._study.seeds_of(stored.number), self._study.population
        if self._promotions is not None:
            return self._promotions.part_of(stored, seeds)
        if members is None:
            return {"seeds": seeds}
        return {"seeds": seeds, "parent": stored.system_attrs.get(PARENT), "epochs": members.end_of(stored.number)}

    def ancestors(self, begun: Begun) -> list[int]:
        """Optuna's ids of the trials whose weights a trial has gone on from, in their order."""
        if self._study.population is None:
            return []
        held = {trial.number: trial for trial in self._trials.held()}
        parents = {number: trial.system_attrs.get(PARENT) for number, trial in held.items()}
        *before, _ = lineage(parents, begun.trial.number)
        return [held[number]._trial_id for number in before]

    def passed_over(self, begun: Begun) -> TrialOutcome | None:
        """How a trial ends that is not trained; None where it is to be trained.

        One with parameters that it cannot have fails; one whose arm gets no more seeds is pruned.
        """
        if begun.refusal:
            return TrialOutcome(verdict=Verdict.FAILED, reason=begun.refusal, traceback=begun.refusal)
        plan, number = self._arm_plan, begun.trial.number
        if plan is None or plan.look_of(number) < 2:
            return None
        ending = self._endings_before(plan.look_of(number)).get(plan.arm_of(number).name)
        return None if ending is None else TrialOutcome(verdict=Verdict.PRUNED, reason=ending.text)

    def _endings_before(self, look: int) -> Mapping[str, Ending]:
        """Why arms get no seeds of a look, by name, as the looks before it decided."""
        if look not in self._endings:
            from evolve.ablation.interim import standing  # whose tests take a second to import
            from evolve.ablation.trained import arm_runs, plan_of
            from evolve.storage.ablations import trainings_of

            ablation, plan = plan_of(self._study)
            runs = arm_runs(plan, trainings_of(self._storage.engine, self._study.name))
            self._endings[look] = standing(plan, runs, margin=ablation.margin, through=look - 1).endings
        return self._endings[look]

    # What becomes of a trial

    def foreseen(self, begun: Begun, records: Sequence[Record]) -> list[tuple[int, Foreseen]]:
        """What the steps among some records foretell, with the seed of each training of which they are the first to.

        Args:
            begun: Trial that yielded the records.
            records: All that it has yielded since it was last asked, not yet stored.
        """
        return self._foresight.see(begun.trial_id, begun.stored.params, records)

    def report(self, begun: Begun, epoch: int, fitness: float, seed: int) -> Decision:
        """Stores the fitness of an epoch and whether the trial goes on; it is never asked a second time about one.

        Args:
            begun: Trial that has trained the epoch.
            epoch: Index of the epoch that is just over, from 0; all its records have been seen and are stored.
            fitness: Fitness on the validation images after that epoch.
            seed: Seed of the training that the epoch is of.
        """
        stored, decision = begun.stored, begun.decisions.get(epoch)
        if decision is None:
            self._trials.report(stored, epoch, fitness)
            if self._study.pruner in FORESEEING:
                self._trials.keep(stored, {FORETOLD: self._foresight.foretold(begun.trial_id, seed)})
            trials = self._trials.held() if self._pruner.compares else [stored]
            decision = begun.decisions[epoch] = decide(self._pruner, stored, trials, study=self._study.name)
            self._storage.ledger.keep_decision(begun.trial_id, epoch, decision)
        self._trials.keep(stored, decision.attributes)
        return decision

    def unfinished(self) -> list[int]:
        """Numbers of the trials that have begun and not ended, here or elsewhere, those that are paused among them."""
        self._trials.refresh()
        return [trial.number for trial in self._trials.running()]

    def is_at_rung(self, begun: Begun) -> bool:
        """Whether a trial has all the epochs after which it is to be paused."""
        goal = begun.trial.epochs
        return self._promotions is not None and goal is not None and begun.stored.last_step == goal - 1

    def pause(self, begun: Begun) -> TrialOutcome:
        """Stores that a trial which is at its rung waits there, and what it has come to."""
        assert self._promotions is not None
        with self._storage.transactions.together():
            return self._promotions.pause(begun.stored)

    def given_up(self, *, to_come: int) -> list[tuple[Begun, TrialOutcome]]:
        """Trials that wait and can never be promoted, and how they end.

        Args:
            to_come: Number of trials of the budget that have not begun.
        """
        if self._promotions is None:
            return []
        return [(self._begun(stored), outcome) for stored, outcome in self._promotions.given_up(to_come=to_come)]

    def end(self, begun: Begun, outcome: TrialOutcome) -> None:
        """Stores how a trial ended, in our tables and Optuna's."""
        self._foresight.forget(begun.trial_id)
        with self._storage.transactions.together():
            self._storage.end_trial(begun.trial_id, outcome)
            self.tell(begun.stored, outcome)

    def tell(self, stored: FrozenTrial, outcome: TrialOutcome) -> None:
        """Tells Optuna how a trial ended."""
        states = {"failed": TrialState.FAIL, "pruned": TrialState.PRUNED}
        state: TrialState = states.get(outcome.verdict, TrialState.COMPLETE)
        value = outcome.fitness if state is TrialState.COMPLETE else None
        is_lost = outcome.verdict.is_lost
        if is_lost:
            state, value = divergence_state(self._study.sampler)
        margin = None
        if state is not TrialState.FAIL:
            largest = self._storage.records.max_update_ratio(stored._trial_id)
            margin = divergence_margin(largest, has_diverged=is_lost)
        if state is TrialState.COMPLETE and not is_lost:
            self._keep_error(stored)
        self._trials.tell(stored, state, value, constraints={} if margin is None else {DIVERGED: margin})

    def _keep_error(self, stored: FrozenTrial) -> None:
        """Keeps with a trial how sure its fitness is, where several seeds tell."""
        trainings = self._storage.records.trainings(stored._trial_id).values()
        if len(trainings) > 1:
            error = stdev(training.fitness for training in trainings) / sqrt(len(trainings))
            self._trials.keep(stored, {STANDARD_ERROR: error})
