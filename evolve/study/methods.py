"""How trials are chosen and stopped, by name, and what a method asks of the study that names it."""

from __future__ import annotations

from typing import Literal, get_args

from evolve.errors import DefinitionError, Problem
from evolve.study.space import Choices, Space

SamplerName = Literal[
    "grid", "random", "qmc", "tpe", "gp", "cmaes", "evolution", "classic", "guided", "screening", "pbt", "arms"
]
PrunerName = Literal["median", "asha", "promotion", "hyperband", "doomed", "doomed+median", "none"]
SAMPLERS: tuple[str, ...] = get_args(SamplerName)
PRUNERS: tuple[str, ...] = get_args(PrunerName)
PROMOTION: Literal["promotion"] = "promotion"  # the pruner that pauses trials
# Samplers that ask the same whatever came out before.
BLIND_SAMPLERS = ("grid", "random", "qmc", "arms")
COMPARING: tuple[PrunerName, ...] = (
    "median",
    "asha",
    PROMOTION,
    "hyperband",
    "doomed+median",
)  # with others at the same epoch
OF_RUNGS: tuple[PrunerName, ...] = ("asha", PROMOTION, "hyperband")  # at few epochs, of which the first is early
FORESEEING: tuple[PrunerName, ...] = ("doomed", "doomed+median")  # look at the steps of a training, too
SchedulerName = Literal["none", "asha"]
SCHEDULERS: tuple[str, ...] = get_args(SchedulerName)

# Complete trials before the median of them means anything; as Optuna counts.
MEDIAN_STARTUP_TRIALS = 5


def check_sampler(sampler: SamplerName, space: Space, *, compares: bool, warm_starts: bool) -> None:
    """Refuses a sampler that cannot choose what a study asks for.

    Args:
        sampler: Name of the study's sampler.
        space: Search space of the study.
        compares: Whether the study has an ablation.
        warm_starts: Whether the study names earlier trials for the sampler to know.

    Raises:
        DefinitionError: The sampler does not go with the space, the ablation or the earlier trials.
    """
    if (sampler == "arms") != compares:
        text = f"'arms' needs an ablation, which names them; allowed: {[name for name in SAMPLERS if name != 'arms']}"
        raise DefinitionError([Problem(path="sampler", text=text)])
    chosen = [name for name, parameter in space.items() if isinstance(parameter, Choices)]
    if sampler in ("cmaes", "classic") and chosen:
        text = f"{sampler!r} needs numbers, but {chosen} have choices; take guided, tpe, gp, evolution or random"
        raise DefinitionError([Problem(path="sampler", text=text)])
    if warm_starts and sampler in BLIND_SAMPLERS:
        text = f"{sampler!r} looks at no earlier trials; take guided, evolution, tpe, gp, cmaes or classic"
        raise DefinitionError([Problem(path="warm_start", text=text)])
    if sampler != "guided" and (believed := [name for name, axis in space.items() if axis.prior]):
        text = f"is only looked at by the sampler 'guided', and this one is {sampler!r}"
        raise DefinitionError([Problem(path=f"space.{name}.prior", text=text) for name in believed])


def check_scheduler(scheduler: SchedulerName, pruner: PrunerName) -> None:
    """Refuses a scheduler beside a pruner.

    Raises:
        DefinitionError: Both would stop trials.
    """
    if scheduler != "none" and pruner != "none":
        text = f"{scheduler!r} is given beside the pruner {pruner!r}, and both stop trials: name one"
        raise DefinitionError([Problem(path="scheduler", text=text)])
