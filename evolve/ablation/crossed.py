"""From the trainings of a study of noise to shares of their variance, or why there are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from evolve.ablation.noise import NoiseShares, noise_shares
from evolve.ablation.trained import Trained
from evolve.errors import StudyError
from evolve.formatting import capitalised, counted
from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.study import Study
from evolve.study.noise import LEAST_SOURCES, Noise


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFound:
    """What a study of noise has come to.

    Attributes:
        study: Study that measures noise.
        shares: How much of the noise comes from each source; None where that cannot be said.
        reason: Why there are no shares, or what to know beside them; may be empty where there are shares.
    """

    study: Study
    shares: NoiseShares | None
    reason: str = ""

    @property
    def basis(self) -> str:
        """What the floor rests on, in a few words."""
        trainings = 0 if self.shares is None else self.shares.num_trainings
        return f"study {self.study.name}, {counted(trainings, 'training')} of {counted(self.study.epochs, 'epoch')}"

    @property
    def text(self) -> str:
        """What was found and what to know beside it, as sentences; what to know alone where there are no shares."""
        said = [] if self.shares is None else [self.shares.sentence]
        return " ".join(f"{capitalised(sentence)}." for sentence in (*said, self.reason) if sentence)


def noise_of(study: Study) -> Noise:
    """The section of a study that says what its trainings are crossed over.

    Raises:
        StudyError: The study measures no noise.
    """
    if study.noise is None:
        raise StudyError(
            f"study {study.name}: has no noise section, so it measures none; `evolve run --study noise` does"
        )
    return study.noise


def noise_found(study: Study, trainings: Iterable[Trained]) -> NoiseFound:
    """Shares of the variance of a study's trainings; it fails closed, since a crossed run has no gaps.

    Args:
        study: Study that measures noise.
        trainings: Trainings of the study that have ended.

    Raises:
        StudyError: The study measures no noise.
    """
    noise = noise_of(study)
    values, ends = _by_levels(noise, trainings)
    if lost := {end: count for end, count in ends.items() if end != "finished"}:
        text = ", ".join(f"{count} {end}" for end, count in lost.items())
        return NoiseFound(study=study, shares=None, reason=f"of {values.size} trainings {text}; shares need every one")
    varied = [axis for axis in range(values.ndim) if np.ptp(values, axis=axis).any()]
    sources, reason = [noise.sources[axis] for axis in varied], ""
    if fixed := [source for source in noise.sources if source not in sources]:
        reason = f"{' and '.join(fixed)} changed nothing, as where a data set lists its own splits"
        values = values[tuple(slice(None) if axis in varied else 0 for axis in range(values.ndim))]
    if len(sources) < LEAST_SOURCES:
        return NoiseFound(study=study, shares=None, reason=f"{reason}; shares need two sources that do")
    return NoiseFound(study=study, shares=noise_shares(values, sources), reason=reason)


def _by_levels(noise: Noise, trainings: Iterable[Trained]) -> tuple[NDArray[np.float64], Counter[str]]:
    """Fitness by the level of each source, and how many trainings ended in which way."""
    values = np.full((noise.levels,) * len(noise.sources), np.nan)
    ends: Counter[str] = Counter()
    for training in trainings:
        is_finished = training.verdict in TRAINED_THROUGH and training.fitness is not None
        if is_finished and isfinite(training.fitness or 0.0):
            levels = noise.levels_of(training.trial, training.seed)._asdict()
            values[tuple(levels[source] for source in noise.sources)] = training.fitness
        ends["finished" if is_finished else training.verdict] += 1
    if missing := values.size - ends.total():
        ends["missing"] = missing
    return values, ends
