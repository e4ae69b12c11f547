"""Samplers by name; each is a function of the study's seed, the trial's number and the trials before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState, create_trial

from evolve.errors import StudyError, unknown_text
from evolve.search.samplers.adaptive import gp, random, tpe
from evolve.search.samplers.arms import Arms
from evolve.search.samplers.cma_es import CmaEs
from evolve.search.samplers.design import Grid, Qmc
from evolve.search.samplers.evolving import Classic, Evolution
from evolve.search.samplers.guided import Guided
from evolve.search.samplers.history import (
    DIVERGED,
    STANDARD_ERROR,
    WORST_FITNESS,
    HistorySampler,
    Suggest,
    trial_seed,
)
from evolve.search.samplers.population import PopulationBased
from evolve.search.samplers.screening import Screening

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from evolve.study import Study
    from evolve.study.earlier import Earlier

__all__ = [
    "DIVERGED",
    "STANDARD_ERROR",
    "WORST_FITNESS",
    "HistorySampler",
    "divergence_state",
    "make_sampler",
    "trial_seed",
]

# What these learn from has a value; the others read the constraint.
_VALUED = ("gp", "cmaes")
# What these suggest depends on seed and number alone.
_BLIND = ("random", "qmc")


def make_sampler(study: Study, earlier: Sequence[Earlier] = ()) -> HistorySampler:
    """The study's sampler, for `study.ask(fixed_distributions=space.distributions())` in a study that maximises.

    Args:
        study: Study that names the sampler and all that the sampler depends on.
        earlier: Trials of earlier searches, which the sampler knows before trial 0.

    Raises:
        StudyError: The sampler needs a package that is not installed.
    """
    distributions = study.space.distributions()
    return HistorySampler(
        distributions=distributions,
        suggest=_suggest(study, distributions),
        looks_back=study.sampler not in _BLIND,
        earlier=[_as_trial(place - len(earlier), trial, distributions) for place, trial in enumerate(earlier)],
    )


def _as_trial(number: int, earlier: Earlier, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    trial = create_trial(
        state=TrialState.COMPLETE,
        value=earlier.fitness,
        params=dict(earlier.params),
        distributions=distributions,
        constraints={DIVERGED: earlier.margin},
    )
    trial.number = number
    return trial


def divergence_state(sampler_name: str) -> tuple[TrialState, float | None]:
    """State of a diverged trial for Optuna's `tell`, and the value that goes with it.

    Before that, `trial.set_constraint(DIVERGED, margin)` with a margin above 0 keeps the trial from becoming the best
    in either state. Where there is no value the trial is told as pruned, which keeps an invented number out of the
    record; Optuna's own Gaussian process and CMA-ES read complete trials alone, so for these two a diverged trial has
    the worst fitness. Ours look at the constraint, and never at that value.

    Raises:
        StudyError: There is no such sampler.
    """
    if sampler_name not in _MAKERS:
        raise StudyError(unknown_text("sampler", sampler_name, tuple(_MAKERS)))
    return (TrialState.COMPLETE, WORST_FITNESS) if sampler_name in _VALUED else (TrialState.PRUNED, None)


def _suggest(study: Study, distributions: dict[str, BaseDistribution]) -> Suggest:
    if study.sampler == "guided":
        return Guided.of(study)
    if (screening := study.screening) is not None:
        return Screening(plan=screening, study_seed=study.seed)
    if study.sampler == "grid":
        return Grid(values=study.grid(), study_seed=study.seed)
    if study.pbt is not None and (members := study.population) is not None:
        return PopulationBased(distributions=distributions, study_seed=study.seed, plan=members, pbt=study.pbt)
    if (plan := study.arm_plan) is not None:
        return Arms(plan=plan, distributions=distributions, study_seed=study.seed)
    return _MAKERS[study.sampler](distributions=distributions, study_seed=study.seed)


_MAKERS: dict[str, Callable[..., Suggest]] = {
    "grid": Grid,
    "random": random,
    "qmc": Qmc,
    "tpe": tpe,
    "gp": gp,
    "cmaes": CmaEs,
    "evolution": Evolution,
    "classic": Classic,
    "guided": Guided,
    "screening": Screening,
    "pbt": PopulationBased,
    "arms": Arms,
}
