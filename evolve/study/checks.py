"""What a study is allowed to say and has no use, each with its key path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

from detector.declaration import CLASSES, VARIED
from detector.hyperparameters import declarations
from evolve.formatting import counted
from evolve.study.methods import COMPARING, FORESEEING, MEDIAN_STARTUP_TRIALS
from evolve.study.space import Choices
from evolve.study.study import DIGITS, Study


def warnings(study: Study) -> list[str]:
    """What is allowed but has no use, each with its key path."""
    return [warning for check in _CHECKS for warning in check(study)]


def idle_keys(study: Study) -> dict[str, str]:
    """Hyperparameters that a study searches, or fixes at another value than the default, for nothing: why, by name."""
    facts = {VARIED: study.data not in DIGITS, CLASSES: study.data != "digits-1"}
    fixed = study.hyperparameters({})

    def possible(name: str) -> Sequence[object]:
        searched = study.space.get(name)
        if searched is None:
            return (getattr(fixed, name),)
        return searched.choices if isinstance(searched, Choices) else (searched.largest,)

    found = {}
    for name, declared in declarations().items():
        is_given = name in study.space or (name in study.fixed and study.fixed[name] != declared.default)
        if is_given and (reasons := declared.obstacles(possible, facts)):
            found[name] = " and ".join(reasons)
    return found


def _without_effect(study: Study) -> Iterator[str]:
    for name, reason in idle_keys(study).items():
        part = "space" if name in study.space else "hyperparameters"
        yield f"{part}.{name}: has no effect: {reason}"


def _endless_warmup(study: Study) -> Iterator[str]:
    searched = study.space.get("warmup_epochs")
    longest = searched.largest if searched else study.hyperparameters({}).warmup_epochs
    key = "space.warmup_epochs" if searched else "hyperparameters.warmup_epochs"
    if longest >= study.epochs:
        yield f"{key}: a warm-up of {longest:g} epochs does not end within a training of {study.epochs}"


def _ill_fitting_grid(study: Study) -> Iterator[str]:
    if study.sampler != "grid":
        return
    grid, trials, of_baseline = study.grid(), study.budget.trials, ""
    points, free = prod(map(len, grid.values())), trials
    if study.baseline and any(value not in grid[name] for name, value in study.baseline_params().items()):
        free, of_baseline = trials - 1, ", of which the baseline is no point of the grid,"
    if points > free:
        yield f"budget.trials: {trials} trials{of_baseline} leave out {points - free} of the grid's {points} points"
    if points < free:
        yield f"budget.trials: {trials} trials{of_baseline} repeat points of the grid, which has {points}"


def _exhausted_screening(study: Study) -> Iterator[str]:
    points = 2 ** len(study.space)
    if study.screening is not None and study.budget.trials > points:
        yield (
            f"budget.trials: {study.budget.trials} trials repeat some of the {points} points that "
            f"{counted(len(study.space), 'change')} can make"
        )


def _idle_pruner(study: Study) -> Iterator[str]:
    if study.pruner in ("median", "doomed+median") and study.budget.trials <= MEDIAN_STARTUP_TRIALS:
        yield (
            f"pruner: median stops nothing before {MEDIAN_STARTUP_TRIALS} trials are complete, "
            f"and the budget is {study.budget.trials}"
        )
    if study.pruner != "none" and study.epochs < 2:
        yield f"pruner: nothing is stopped in the last epoch, and there is {study.epochs}"
    elif study.pruner in COMPARING and study.epochs < 3:
        what = "median stops nothing" if study.pruner in FORESEEING else "nothing is stopped"
        yield f"pruner: {what} before the second epoch or in the last, and there are {study.epochs}"


def _unfair_pruner(study: Study) -> Iterator[str]:
    if study.pruner in COMPARING and "batch_size" in study.space:
        yield (
            f"pruner: {study.pruner} compares trials after the same epochs, and batch_size is searched: a smaller "
            "batch has made more updates by then, and a larger one that ends better may be stopped"
        )


def _part_of_population(study: Study) -> Iterator[str]:
    if (members := study.population) is None:
        return
    trials, whole = study.budget.trials, members.num_trials
    if trials % whole:
        yield (
            f"budget.trials: {trials} are not whole populations of {whole}: {members.members} members through "
            f"{members.num_generations} parts of the training"
        )
    if members.num_generations == 1:
        yield f"pbt.interval: nothing is exchanged in a training of {study.epochs} epochs"


def _ended_changes(study: Study) -> Iterator[str]:
    for epoch in study.from_epoch:
        if epoch >= study.epochs:
            yield f"from_epoch.{epoch}: never comes in a training of {study.epochs} epochs"


def _unused_fixed_values(study: Study) -> Iterator[str]:
    if study.ablation is not None:  # they are the baseline's
        return
    if study.baseline:
        for name, value in study.baseline_params().items():
            if name not in study.space.unplaced and not study.space[name].holds(value):
                yield f"space.{name}: leaves out the baseline's value {value!r}, which is trained all the same"
        return
    for name in study.space:
        if name in study.fixed:
            yield f"hyperparameters.{name}: is searched as well, so the fixed value is never used"


_CHECKS: tuple[Callable[[Study], Iterator[str]], ...] = (
    _without_effect,
    _endless_warmup,
    _ill_fitting_grid,
    _exhausted_screening,
    _idle_pruner,
    _unfair_pruner,
    _part_of_population,
    _ended_changes,
    _unused_fixed_values,
)
