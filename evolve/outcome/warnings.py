"""Signs that a training is going to be lost, over the stream of its steps: each in constant time and memory a step.

A sign is a number that is larger the worse things are; it warns while it is above its level, where that is asked for
only after some steps in a row. Most warnings come and go in healthy trainings, too: a training is doomed while two are
there at once, or one that is decisive. Levels are quantiles of what healthy trainings reach (`fitted`), so how often
each is wrong is chosen and not hoped for.

To warn is not to stop. A training whose first update was too large spikes as one that is lost, and may learn from
there all the same, which nobody can tell at that step. So whoever stops trainings waits, and lets go on what recovers
(`Watch.doom`), learns or leads (`is_spared`).

How large an update may be depends on the kind of training, as far as it is known before its first step: updates by
SGD grow with the gradient, those by Adam and RMSprop do not; sizes of boxes that go through exp break sooner than
bounded ones, whose raw outputs may be of any size. So each kind has a level of its own. Without a warm-up the first
update may be tens of times the weights and do no harm, so it has one, too, and no level of later ones is made of it.

Source: Vovk, Lindsay, Nouretdinov & Gammerman 2003, Mondrian confidence machine: quantiles by kind, so that each kind
by itself is wrong as seldom as asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite, log, nan, sqrt

from detector.hyperparameters import Hyperparameters
from detector.telemetry import TERMS, StepTelemetry
from evolve.formatting import number
from evolve.outcome.verdict import FIRST_STEPS
from evolve.study.definition import FIRST_UPDATES, UPDATES, Warnings

SIGNS = (*UPDATES, *FIRST_UPDATES, "overshoot", "gradient", "term", "box", "rise", "unlearned", "stuck")
DECISIVE = (*UPDATES, *FIRST_UPDATES, "box")  # each dooms a training by itself
ADAPTIVE = frozenset({"adam", "adamw", "muon", "rmsprop"})  # optimizers whose updates do not grow with the gradient
SETTLED_STEPS = 20  # before these a loss that has not fallen says nothing
_LOSS_DECAY, _NORM_DECAY = 0.9, 0.97
_LEAST_DEVIATION = 0.2  # of the logarithm of a norm, which a quiet training would else make of nothing
_USUAL = 3.0  # deviations; what is further out moves mean and deviation no more than this
_LATE_DECAY = 0.7  # of the logarithm of the loss over its last few steps, to be compared with more of them
_LOWER = 0.99  # of a loss, below which another one is lower by more than a last digit
UPHILL = 1e-4  # a critical ratio that is not above it: hardly any update is small enough
BEST_SHARE = 0.25
FIRST_SHARE = 0.2  # of the probability of a wrong level, for first updates


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is known of a training before its first step that decides which signs it has.

    Attributes:
        is_adaptive: Whether its optimizer divides updates by the size of the gradient.
        has_exp: Whether its raw outputs become sizes of boxes through exp, which nothing bounds.
    """

    is_adaptive: bool
    has_exp: bool

    @classmethod
    def of(cls, values: Hyperparameters) -> Kind:
        """The kind of a training with these hyperparameters."""
        return cls(is_adaptive=values.optimizer in ADAPTIVE, has_exp=values.coding == "exp")

    @property
    def update(self) -> str:
        """Name of the sign that its updates are."""
        return f"update{'_adaptive' if self.is_adaptive else ''}{'_exp' if self.has_exp else ''}"

    @property
    def first_update(self) -> str:
        """Name of the sign that its first update is."""
        return f"first_{self.update}"

    @property
    def signs(self) -> tuple[str, ...]:
        """Names of the signs that it has."""
        others = {*UPDATES, *FIRST_UPDATES} - {self.update, self.first_update} | (set() if self.has_exp else {"box"})
        return tuple(name for name in SIGNS if name not in others)


class Signs:
    """The signs of one training, step by step.

    Args:
        kind: Kind of the training.
    """

    def __init__(self, kind: Kind) -> None:
        self._first_update, self._update, self._names = kind.first_update, kind.update, kind.signs
        self._num_steps = 0
        self._start = self._loss = self._lowest = nan
        self._lowest_at = 0
        self._log_loss, self._late_log_loss = 0.0, 0.0
        self._log_norm, self._spread = nan, _LEAST_DEVIATION**2
        self._overshoot = 0.0

    def see(self, step: StepTelemetry) -> dict[str, float]:
        """Every sign of its kind after one more step, by name; infinite where what it is made of is no number."""
        self._num_steps += 1
        if step.critical_ratio == step.critical_ratio:  # nan is not itself
            # Where the least update raises the loss, its direction is at fault, and its size tells nothing.
            self._overshoot = 1 / step.critical_ratio if step.critical_ratio > UPHILL else 0.0
        found = {
            self._first_update: step.update_ratio if self._num_steps == 1 else 0.0,
            self._update: step.update_ratio if self._num_steps > 1 else 0.0,
            "overshoot": self._overshoot,
            "gradient": self._deviation(step.grad_norm),
            "term": _largest_share(step.terms.sums()),
            "box": step.max_box_logit,
            **self._of_loss(step.loss),
        }
        return {name: inf if found[name] != found[name] else found[name] for name in self._names}

    @property
    def is_recovering(self) -> bool:
        """Whether the loss has fallen over the last ten steps or so: it is lower in the last three of them."""
        return self._late_log_loss < self._log_loss + log(_LOWER)

    def _deviation(self, norm: float) -> float:
        """Deviations of a gradient norm above the running mean of its logarithm.

        Source: ZClip, arXiv:2504.02507, eq. 1-3 (mean, variance, z-score by a decay of 0.97), here of logarithms.
        """
        if not isfinite(norm):
            return inf
        value = log(max(norm, 1e-300))
        if not isfinite(self._log_norm):
            self._log_norm = value
            return 0.0
        deviation = max(sqrt(self._spread), _LEAST_DEVIATION)
        found = (value - self._log_norm) / deviation
        moved = min(max(found, -_USUAL), _USUAL) * deviation
        share = self._share(_NORM_DECAY)
        self._log_norm += share * moved
        self._spread += share * (moved**2 - self._spread)
        return found

    def _share(self, decay: float) -> float:
        # The first steps count evenly: a decay alone would remember the very first for too long.
        return max(1 - decay, 1 / self._num_steps)

    def _of_loss(self, loss: float) -> dict[str, float]:
        value = log(max(loss, 1e-300))  # infinite or nan, if the loss is, from which no mean recovers
        self._log_loss += self._share(_LOSS_DECAY) * (value - self._log_loss)
        self._late_log_loss += self._share(_LATE_DECAY) * (value - self._late_log_loss)
        if not isfinite(loss):
            return dict.fromkeys(("rise", "unlearned", "stuck"), inf)
        share = 1 - _LOSS_DECAY if isfinite(self._loss) else 1.0
        self._loss = loss if share == 1 else self._loss + share * (loss - self._loss)
        if self._num_steps <= FIRST_STEPS:
            before = self._start if isfinite(self._start) else 0.0
            self._start = before + (loss - before) / self._num_steps
        if not self._loss >= _LOWER * self._lowest:
            self._lowest, self._lowest_at = self._loss, self._num_steps
        is_settled = self._num_steps >= SETTLED_STEPS
        return {
            "rise": loss / max(self._lowest, 1e-300),
            "unlearned": self._loss / max(self._start, 1e-300) if is_settled else 0.0,
            "stuck": 1 - self._lowest_at / self._num_steps if is_settled else 0.0,
        }


def _largest_share(sums: Mapping[str, float]) -> float:
    total = sum(sums.values())
    return max(sums[name] for name in TERMS) / total if total > 0 else nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """The evidence that a training is doomed.

    Attributes:
        step: Step at which its warnings are there together.
        signs: Value of each sign that warns, by name.
        levels: Level that each of these signs is above, by name.
    """

    step: int
    signs: Mapping[str, float]
    levels: Mapping[str, float]

    @property
    def text(self) -> str:
        """The evidence in numbers."""
        parts = (
            f"{_said(name)} {number(value)} above {number(self.levels[name])}" for name, value in self.signs.items()
        )
        return f"{', '.join(parts)} at step {self.step}"


def _said(name: str) -> str:
    """A sign as people are told it, who know the kind of their training."""
    return "update" if name in UPDATES else "first update" if name in FIRST_UPDATES else name


class Watch:
    """Whether a training is doomed, step by step.

    Args:
        warnings: Levels of the signs, and how long and how many of them must warn.
        kind: Kind of the training.
    """

    def __init__(self, warnings: Warnings, kind: Kind) -> None:
        self._warnings = warnings
        self._levels = {name: getattr(warnings, name) for name in kind.signs}
        self._signs, self._in_a_row = Signs(kind), dict.fromkeys(kind.signs, 0)
        self._foreseen: Foreseen | None = None
        self.num_steps = 0

    @property
    def is_recovering(self) -> bool:
        """Whether its loss is falling now, whatever it rose to before."""
        return self._signs.is_recovering

    @property
    def doom(self) -> Foreseen | None:
        """What follows from the last step, for those who stop trainings: nothing of one that recovers."""
        return None if self.is_recovering else self._foreseen

    def see(self, step: StepTelemetry) -> Foreseen | None:
        """What follows from one more step; None where the training is not doomed, or is so no longer."""
        self._foreseen = self._follows(step)
        return self._foreseen

    def _follows(self, step: StepTelemetry) -> Foreseen | None:
        self.num_steps += 1
        found = self._signs.see(step)
        for name, level in self._levels.items():
            self._in_a_row[name] = self._in_a_row[name] + 1 if found[name] > level else 0
        warning = [name for name, steps in self._in_a_row.items() if steps >= self._warnings.sustained]
        if len(warning) < self._warnings.together and not any(name in DECISIVE for name in warning):
            return None
        return Foreseen(
            step=step.step,
            signs={name: found[name] for name in warning},
            levels={name: self._levels[name] for name in warning},
        )


def is_learning(fitness: Sequence[float]) -> bool:
    """Whether a training does better than ever before; after its first epoch nobody can tell.

    Args:
        fitness: Its fitness after each epoch so far.
    """
    return len(fitness) > 1 and fitness[-1] > max(fitness[:-1])


def is_among_best(value: float, others: Sequence[float]) -> bool:
    """Whether at least three quarters of other trainings do worse; of none, nobody can tell.

    Args:
        value: Fitness of a training after an epoch.
        others: Fitness of others after the same epoch.
    """
    return bool(others) and sum(other < value for other in others) >= (1 - BEST_SHARE) * len(others)


def is_spared(fitness: Sequence[float], others: Sequence[float]) -> bool:
    """Whether a training is not stopped after an epoch, whatever its steps foretell: it learns or leads.

    Args:
        fitness: Its fitness after each epoch so far.
        others: Fitness of others after the last of these epochs.
    """
    return is_learning(fitness) or is_among_best(fitness[-1], others)


def spared(fitness: Sequence[float], others: Sequence[Sequence[float]]) -> tuple[bool, ...]:
    """For each epoch whether a training is not stopped after it, whatever its steps foretell.

    Args:
        fitness: Its fitness after each epoch.
        others: The same of those that were trained before it, which may have ended sooner.
    """
    return tuple(
        is_spared(fitness[: epoch + 1], [other[epoch] for other in others if epoch < len(other)])
        for epoch in range(len(fitness))
    )


def fitted(reached: Sequence[Mapping[str, float]], *, wrong: float, sustained: int, together: int = 2) -> Warnings:
    """Levels that a healthy training like some others exceeds with a given probability at most, each by itself.

    A sign that was never seen, or that too few of the trainings have, keeps the level that it has without any fitting.

    Args:
        reached: For each of the others what `largest_sustained` returns, for the same number of steps in a row.
        wrong: Probability that a level is exceeded, above 0 and below 1; of a first update a fifth of it, since all
            that is known of its training then is one step.
        sustained, together: Steps in a row that a level must be exceeded in, and number of warnings that doom a
            training, as `Warnings` keeps them.

    Raises:
        ValueError: There are too few trainings, of all kinds together, for that probability.
    """
    _check_count(len(reached), wrong)
    by_sign = {name: [highest[name] for highest in reached if name in highest] for name in SIGNS}
    asked = {name: wrong * FIRST_SHARE if name in FIRST_UPDATES else wrong for name in SIGNS}
    levels = {
        name: conformal_level(values, asked[name])
        for name, values in by_sign.items()
        if len(values) >= least_trainings(asked[name])
    }
    known = {name: rounded_up(level) for name, level in levels.items() if 0 < level < inf}
    return Warnings(**known, sustained=sustained, together=together)


def largest_sustained(steps: Sequence[StepTelemetry], sustained: int, kind: Kind) -> dict[str, float]:
    """The highest level that each sign of a training of some kind stayed at, or above, for some steps in a row."""
    signs, largest = Signs(kind), dict.fromkeys(kind.signs, 0.0)
    last: dict[str, deque[float]] = {name: deque(maxlen=sustained) for name in kind.signs}
    for step in steps:
        for name, value in signs.see(step).items():
            last[name].append(value)
            if len(last[name]) == sustained:
                largest[name] = max(largest[name], min(last[name]))
    return largest


def conformal_level(reached: Sequence[float], wrong: float) -> float:
    """Level that one more exchangeable value exceeds with a given probability at most, whatever their distribution.

    Args:
        reached: Values that were seen.
        wrong: Probability that a level is exceeded, above 0 and below 1.

    Raises:
        ValueError: There are too few values for that probability.

    Source: split conformal prediction; Lei et al. 2018 (arXiv:1604.04173), section 2.2: of n values the
    ceil((n + 1) (1 - wrong))-th smallest.
    """
    _check_count(len(reached), wrong)
    place = ceil((len(reached) + 1) * (1 - wrong))
    return sorted(reached)[min(place, len(reached)) - 1]  # a last digit may round one too far


def least_trainings(wrong: float) -> int:
    """Fewest values of which a level can be taken that one more exceeds with this probability at most, in 0..1."""
    return ceil(1 / wrong) - 1


def _check_count(count: int, wrong: float) -> None:
    """Makes sure that there are as many values as it takes."""
    if count < (least := least_trainings(wrong)):
        raise ValueError(f"{count} healthy trainings; a probability of {wrong:g} needs {least}")


def rounded_up(level: float) -> float:
    """A level with three digits, not below it."""
    step = 10.0 ** (ceil(log(level, 10)) - 3)
    return float(f"{ceil(level / step) * step:.6g}")
