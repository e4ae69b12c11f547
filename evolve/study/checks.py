"""What a study is allowed to say and has no use, each with its key path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod

from detector.hyperparameters import AUGMENTATION
from evolve.study.study import DIGITS, MEDIAN_STARTUP_TRIALS, Study


def warnings(study: Study) -> list[str]:
    """What is allowed but has no use, each with its key path."""
    return [warning for check in _CHECKS for warning in check(study)]


def _unused_class_gain(study: Study) -> Iterator[str]:
    if study.data == "digits-1":
        for key in [f"{part}.cls" for part, given in _given(study) if "cls" in given]:
            yield f"{key}: digits-1 has one class, so the class term of the loss is 0 whatever its gain"


def _endless_warmup(study: Study) -> Iterator[str]:
    searched = study.space.get("warmup_epochs")
    longest = searched.largest if searched else study.hyperparameters({}).warmup_epochs
    key = "space.warmup_epochs" if searched else "hyperparameters.warmup_epochs"
    if longest >= study.epochs:
        yield f"{key}: a warm-up of {longest:g} epochs does not end within a training of {study.epochs}"
    if longest == 0:
        for name in sorted({"warmup_momentum", "warmup_bias_lr"} & set(study.space)):
            yield f"space.{name}: has no effect without a warm-up, and warmup_epochs is 0"


def _unused_augmentation(study: Study) -> Iterator[str]:
    if study.data in DIGITS:
        for name in sorted(set(AUGMENTATION) & set(study.space)):
            yield f"space.{name}: images of {study.data} are not augmented"


def _ill_fitting_grid(study: Study) -> Iterator[str]:
    if study.sampler != "grid":
        return
    trials, points = study.budget.trials, prod(len(values) for values in study.grid().values())
    if points > trials:
        yield f"budget.trials: {trials} trials leave out {points - trials} of the grid's {points} points"
    if points < trials:
        yield f"budget.trials: {trials} trials repeat points of the grid, which has {points}"


def _idle_pruner(study: Study) -> Iterator[str]:
    if study.pruner == "median" and study.budget.trials <= MEDIAN_STARTUP_TRIALS:
        yield (
            f"pruner: median stops nothing before {MEDIAN_STARTUP_TRIALS} trials are complete, "
            f"and the budget is {study.budget.trials}"
        )
    if study.pruner != "none" and study.epochs < 3:
        yield f"pruner: nothing is stopped before the second epoch or in the last, and there are {study.epochs}"


def _unused_fixed_values(study: Study) -> Iterator[str]:
    if study.baseline:
        for name, value in study.baseline_params().items():
            if not study.space[name].holds(value):
                yield f"space.{name}: leaves out the baseline's value {value!r}, which is trained all the same"
        return
    for name in study.space:
        if name in study.fixed:
            yield f"hyperparameters.{name}: is searched as well, so the fixed value is never used"


def _given(study: Study) -> tuple[tuple[str, Mapping[str, object]], ...]:
    return ("space", study.space), ("hyperparameters", study.fixed)


_CHECKS: tuple[Callable[[Study], Iterator[str]], ...] = (
    _unused_class_gain,
    _endless_warmup,
    _unused_augmentation,
    _ill_fitting_grid,
    _idle_pruner,
    _unused_fixed_values,
)
