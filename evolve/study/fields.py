"""Values of single keys of a study, checked: what is fixed and frozen, seeds, the generation of the defaults."""

from __future__ import annotations

from collections.abc import Mapping

from detector.hyperparameters import former_defaults
from detector.plan import LARGEST_SEED, TrainingPlan
from evolve.errors import shown
from evolve.study.space import Scalar, check_each, fixed_value

MAX_SEEDS = 1000


def fixed_values(raw: object) -> dict[str, Scalar]:
    """Hyperparameters that a study fixes, each as its declaration allows.

    Raises:
        ValueError: It is no mapping of hyperparameters, or a value is not allowed.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{shown(raw)} is not a mapping of hyperparameters to values")
    return check_each(raw, fixed_value)


def frozen_layers(raw: object) -> int | str:
    """What of the weights to start from is not trained.

    Raises:
        ValueError: It is neither a word that is known nor a number of layers.
    """
    return TrainingPlan(freeze=raw).freeze  # type: ignore[arg-type]  # which says what is allowed


def training_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    """Seeds of the trainings of a trial.

    Raises:
        ValueError: There is none, one is repeated or out of range, or there are more than a thousand.
    """
    if not seeds or min(seeds) < 0 or max(seeds) > LARGEST_SEED or len(set(seeds)) < len(seeds):
        allowed = f"each at least 0 and at most {LARGEST_SEED}"
        raise ValueError(f"{shown(list(seeds))} is not a list of different numbers, {allowed}")
    if len(seeds) > MAX_SEEDS:
        raise ValueError(f"{len(seeds)} seeds, each of them a training of every trial; allowed: up to {MAX_SEEDS}")
    return seeds


def known_generation(defaults: int) -> int:
    """Generation of the detector's defaults.

    Raises:
        ValueError: There is none of that number.
    """
    former_defaults(defaults)
    return defaults
