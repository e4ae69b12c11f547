"""The parts a study is defined with, and what pydantic finds wrong with them in our own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from detector.hyperparameters import former_defaults
from detector.plan import LARGEST_SEED, TrainingPlan
from detector.telemetry import EpochMetrics
from evolve.errors import DefinitionError, Problem, shown, unknown_text
from evolve.study.space import Scalar, as_number, check_each, fixed_value

Number = Annotated[float, BeforeValidator(as_number)]
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
MAX_TRIALS = 100_000  # samplers and pages hold them all in memory
MAX_SEEDS = 1000


class Definition(BaseModel):
    """A part of a study: it cannot be changed, and knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Budget(Definition):
    """What a study may spend.

    Attributes:
        trials: Number of trials, those that diverge, fail or are pruned included.
        seconds: Wall time of a run, or None for no limit: no trial is started after it, nor one that would not be over
            by then if it took as long as those before it in the run.
        trial_seconds: Wall time after which a trial is taken for stuck: its worker is killed, and it goes on once from
            its last checkpoint. None for no limit.
    """

    trials: Whole = Field(ge=1, le=MAX_TRIALS)
    seconds: Annotated[Number, Field(gt=0)] | None = None
    trial_seconds: Annotated[Number, Field(gt=0)] | None = None


class Fitness(Definition):
    """Weights of the metrics in the one number a study maximises.

    Attributes:
        map50, map50_95, precision, recall: Weights, none negative, not all zero.
    """

    map50: Number = Field(default=0.1, ge=0)
    map50_95: Number = Field(default=0.9, ge=0)
    precision: Number = Field(default=0.0, ge=0)
    recall: Number = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Fitness:
        if self._total == 0:
            raise ValueError("all weights are 0; at least one must be above 0")
        return self

    @property
    def _total(self) -> float:
        return self.map50 + self.map50_95 + self.precision + self.recall

    def score(self, *, precision: float, recall: float, map50: float, map50_95: float) -> float:
        """Weighted mean of the metrics; like them in 0..1."""
        weighted = self.map50 * map50 + self.map50_95 * map50_95 + self.precision * precision + self.recall * recall
        return weighted / self._total

    def of(self, metrics: EpochMetrics) -> float:
        """Fitness of an epoch, 0..1."""
        return self.score(
            precision=metrics.precision, recall=metrics.recall, map50=metrics.map50, map50_95=metrics.map50_95
        )


class Thresholds(Definition):
    """Where a verdict turns.

    Attributes:
        floor: Fitness below which a training never left the ground.
        still_rising: Part of the final fitness which the last quarter of the epochs may add to a converged training.
        worsened: Part of the best fitness, each a mean over a quarter of the epochs, that is lost at the end of a
            training which got worse.
        little_learned: Loss of the last epoch over that of the first steps, above which a training whose fitness is
            level has stopped for want of a learning rate and not because it had converged.
        loss_growth: Mean loss of the last epoch over that of the first steps, above which a training has diverged.
    """

    floor: Number = Field(default=0.05, ge=0, le=1)
    still_rising: Number = Field(default=0.08, gt=0, le=1)
    worsened: Number = Field(default=0.15, gt=0, le=1)
    little_learned: Number = Field(default=0.5, gt=0)
    loss_growth: Number = Field(default=2.0, gt=1)


def fixed_values(raw: object) -> dict[str, Scalar]:
    """Hyperparameters by name, each as the detector takes it; raises ValueError where one is not allowed."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"{shown(raw)} is not a mapping of hyperparameters to values")
    return check_each(raw, fixed_value)


def freeze_value(raw: object) -> int | str:
    """What is frozen, as `TrainingPlan` takes it; raises ValueError where it is not allowed."""
    return TrainingPlan(freeze=raw).freeze  # type: ignore[arg-type]  # which says what is allowed


def seed_values(seeds: tuple[int, ...]) -> tuple[int, ...]:
    """The same seeds; raises ValueError where they are none, too many, or not different ones."""
    if not seeds or min(seeds) < 0 or max(seeds) > LARGEST_SEED or len(set(seeds)) < len(seeds):
        allowed = f"each at least 0 and at most {LARGEST_SEED}"
        raise ValueError(f"{shown(list(seeds))} is not a list of different numbers, {allowed}")
    if len(seeds) > MAX_SEEDS:
        raise ValueError(f"{len(seeds)} seeds, each of them a training of every trial; allowed: up to {MAX_SEEDS}")
    return seeds


def generation_value(defaults: int) -> int:
    """The same generation of the detector's defaults; raises ValueError where there was none."""
    former_defaults(defaults)
    return defaults


def problems_of(error: ValidationError, known: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Everything pydantic found wrong, by key path.

    Args:
        error: The exception that pydantic raised.
        known: The keys that are allowed, by the path of the mapping that has them.
    """
    return [problem for found in error.errors() for problem in _translated(found, known)]


_WORDS = {
    "missing": "is missing",
    "int_type": "{input} is not a whole number",
    "bool_type": "{input} is not true or false",
    "string_type": "{input} is not text",
    "string_too_short": "{input} is empty",
    "string_too_long": "{input} is longer than {max_length} characters",
    "string_pattern_mismatch": "{input} has characters other than letters, digits, _ and -",
    "tuple_type": "{input} is not a list",
    "model_type": "{input} is not a mapping",
    "literal_error": "{input} is not one of {expected}",
    "greater_than": "{input} is not above {gt:g}",
    "greater_than_equal": "{input} is not at least {ge:g}",
    "less_than_equal": "{input} is above {le:,.15g}",
}


def _translated(error: Any, known: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    path, context = ".".join(str(key) for key in error["loc"]), error.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, DefinitionError):
        yield from (problem.under(path) for problem in cause.problems)
    elif isinstance(cause, ValueError):
        yield Problem(path=path, text=str(cause))
    elif error["type"] == "extra_forbidden":
        *parents, key = error["loc"]
        parent = ".".join(str(name) for name in parents)
        yield Problem(path=parent, text=unknown_text("key", key, known.get(parent, ())))
    else:
        words = _WORDS.get(error["type"], "{input}: " + error["msg"].replace("{", "{{").replace("}", "}}"))
        yield Problem(path=path, text=words.format(input=shown(error["input"]), **context))


def flat(value: object, path: str = "") -> dict[str, object]:
    """What mappings within a mapping lead to, by the path of their keys; one without keys leads to itself."""
    if not isinstance(value, Mapping) or not value:
        return {path: value}
    return {
        inner: value
        for key, child in value.items()
        for inner, value in flat(child, f"{path}.{key}" if path else str(key)).items()
    }
