"""Values of single keys of a study, checked: what is fixed, frozen or changes, seeds, the generation of defaults."""

from __future__ import annotations

from collections.abc import Mapping

from detector.hyperparameters import declarations, former_defaults
from detector.plan import LARGEST_SEED, TrainingPlan
from evolve.errors import shown
from evolve.study.space import OF_PLAN, Scalar, check_each, fixed_value

MAX_SEEDS = 1000


def fixed_values(raw: object) -> dict[str, Scalar]:
    """Hyperparameters that a study fixes, each as its declaration allows.

    Raises:
        ValueError: It is no mapping of hyperparameters, or a value is not allowed.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{shown(raw)} is not a mapping of hyperparameters to values")
    return check_each(raw, fixed_value)


def why_not_changed(name: str) -> str:
    """Why a hyperparameter cannot change while a training is under way; empty where it can.

    Args:
        name: Name of a hyperparameter, or of a key of the training's plan that may be searched (`OF_PLAN`).
    """
    if name in OF_PLAN:
        return "is shared by all lanes of a training"
    declared = declarations()[name]
    if declared.choices:
        return "is a choice: weights and optimizer mean something else under another one"
    return "is shared by all lanes of a training" if declared.is_shared else ""


def later_values(raw: object) -> dict[int, dict[str, Scalar]]:
    """Hyperparameters that change while a training is under way, by the epoch from which on they do, in its order.

    Raises:
        ValueError: An epoch is no whole number of at least 1, or a hyperparameter cannot change or is not allowed.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{shown(raw)} is not a mapping of epochs to hyperparameters, such as {{4: {{lr0: 0.01}}}}")
    # JSON has no keys that are numbers.
    epochs = {int(key) if isinstance(key, str) and key.isdecimal() else key: value for key, value in raw.items()}
    for key in epochs:
        if isinstance(key, bool) or not isinstance(key, int) or key < 1:
            raise ValueError(f"{shown(key)} is not an epoch from which on something changes, at least 1")
    found: dict[str, dict[str, Scalar]] = check_each({str(key): epochs[key] for key in sorted(epochs)}, _changed)
    return {int(key): values for key, values in found.items()}


def later_written(values: Mapping[int, Mapping[str, Scalar]]) -> dict[str, dict[str, Scalar]]:
    """What `later_values` reads back, with epochs as the text that JSON needs."""
    return {str(epoch): dict(changed) for epoch, changed in values.items()}


def _changed(_: str, raw: object) -> dict[str, Scalar]:
    values = fixed_values(raw)
    return check_each(values, _changeable)


def _changeable(name: str, value: Scalar) -> Scalar:
    if reason := why_not_changed(name):
        raise ValueError(f"{reason}; it cannot change while one is under way")
    return value


def frozen_layers(raw: object) -> int | str:
    """Which layers of the network are not trained: `none`, another word that is known, or a number of leading layers.

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
    """Generation of the detector's defaults, checked to be one that there is.

    Raises:
        ValueError: There is no generation of that number.
    """
    former_defaults(defaults)
    return defaults
