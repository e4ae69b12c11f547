"""The parts a study is defined with, and what pydantic finds wrong with them in our own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from detector.telemetry import EpochMetrics
from evolve.errors import DefinitionError, Problem, shown, unknown_text
from evolve.study.space import as_number

Number = Annotated[float, BeforeValidator(as_number)]
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
# Levels of updates, for each kind of training one; the first is that of all where it is the only one named.
UPDATES = ("update", "update_exp", "update_adaptive", "update_adaptive_exp")
FIRST_UPDATES = tuple(f"first_{name}" for name in UPDATES)
LONGEST_NAME = 100  # characters of a study's name
MAX_TRIALS = 100_000  # samplers and pages hold them all in memory


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


def budget_of(raw: Mapping[str, Any], trials: int) -> object:
    """What a study says of its budget, with a number of trials where it has none; no mapping is left to be refused.

    Args:
        raw: Keys and values as a study's file has them.
        trials: Number of trials that another section of the study decides.
    """
    budget = raw.get("budget")
    given = {} if budget is None else budget
    return {"trials": trials, **given} if isinstance(given, Mapping) else given


class Fitness(Definition):
    """Weights of the metrics in the one number a study maximises.

    Attributes:
        map50, map50_95, precision, recall: Weight of each metric, none negative, not all zero.
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


class Warnings(Definition):
    """Levels from which on the steps of a training warn that it is going to be lost, each larger than what is usual.

    The defaults are those that a good training of its kind exceeds at any step with a probability of 0.05, a first
    update of 0.01, each by itself; fitted on the 2,965 good runs of populations 868 to 1882 of
    `benchmarks/divergence_runs.py`.

    Attributes:
        update: Norm of an update over the norm of the weights, of an optimizer whose updates grow with the gradient
            (SGD, with momentum or without) and boxes of bounded size, from the second step on. Where it is the only one
            of the levels of updates that is named, it is that of all kinds and steps.
        update_exp: The same where sizes of boxes go through exp.
        update_adaptive: The same of Adam, AdamW and RMSprop with boxes of bounded size.
        update_adaptive_exp: The same of these where sizes of boxes go through exp.
        first_update, first_update_exp, first_update_adaptive, first_update_adaptive_exp: The same of the first step
            alone, whose update may be large without harm where there is no warm-up.
        overshoot: The update over the largest one that would not have raised the loss of its own batch: one over the
            last critical ratio that was measured, 0 where an update of any size raises it.
        gradient: Deviations of the logarithm of the gradient norm above its running mean.
        term: Share of one of the four terms in the loss.
        box: Largest absolute raw box output, where sizes of boxes go through exp; bounded ones say nothing.
        rise: Loss over the lowest that the smoothed loss has been.
        unlearned: Smoothed loss over the mean of the first five steps, from the twentieth step on.
        stuck: Share of the steps so far since the smoothed loss was lowest, from the twentieth step on.
        sustained: Steps in a row that a level must be exceeded in; first updates say nothing where that is above 1.
        together: Warnings, sustained at the same step, that doom a training; one of an update or a box dooms it alone.
    """

    update: Number = Field(default=0.966, gt=0)
    update_exp: Number = Field(default=0.286, gt=0)
    update_adaptive: Number = Field(default=1.21, gt=0)
    update_adaptive_exp: Number = Field(default=0.966, gt=0)
    first_update: Number = Field(default=9.65, gt=0)
    first_update_exp: Number = Field(default=0.995, gt=0)
    first_update_adaptive: Number = Field(default=57.3, gt=0)
    first_update_adaptive_exp: Number = Field(default=12.8, gt=0)
    overshoot: Number = Field(default=14.7, gt=0)
    gradient: Number = Field(default=4.49, gt=0)
    term: Number = Field(default=0.975, gt=0)
    box: Number = Field(default=60.1, gt=0)
    rise: Number = Field(default=29.3, gt=0)
    unlearned: Number = Field(default=2.34, gt=0)
    stuck: Number = Field(default=0.991, gt=0)
    sustained: Whole = Field(default=1, ge=1)
    together: Whole = Field(default=2, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _update_of_all_kinds(cls, raw: Any) -> Any:
        """One level of updates is that of all kinds and steps: in files, and as studies were stored before."""
        if not isinstance(raw, Mapping):
            return raw
        named = raw.keys() & {*UPDATES, *FIRST_UPDATES}
        is_one = named == {"update"} or (named == {*UPDATES} and all(raw[name] == raw["update"] for name in UPDATES))
        return {**raw, **dict.fromkeys((*UPDATES, *FIRST_UPDATES), raw["update"])} if is_one else raw


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
