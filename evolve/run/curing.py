"""The remedy of each diverged trial tried: trained again with it, as the trials of a study of their own.

The study is run as any other: it goes on where it was stopped, and has a report. Its decisions say which trial each
of its trials is to cure, and with what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolve.errors import EvolveError, StudyError
from evolve.outcome.cured import SUFFIX, decision_key
from evolve.outcome.explanations import Explanation, Remedy, causes_of
from evolve.outcome.verdict import Verdict
from evolve.search.pruners import make_pruner
from evolve.search.samplers import make_sampler
from evolve.storage.database import Storage
from evolve.storage.trial_rows import TrialRow, trial_rows
from evolve.study import Study
from evolve.study.space import Scalar

_OF_STUDY = "precision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cure:
    """A diverged trial and what is tried for it.

    Attributes:
        number: Number of the diverged trial within its study, from 0.
        params: Parameters of the diverged trial by name, with the values that the remedies ask for.
        cause: Strongest cause that the trial's diagnosis names, with the remedies that are tried.
    """

    number: int
    params: Mapping[str, Scalar]
    cause: Explanation

    @property
    def text(self) -> str:
        """Its cause and its remedies in a line."""
        remedies = "; ".join(remedy.text for remedy in self.cause.remedies)
        return f"{self.cause.cause.text}: {remedies}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cured:
    """What became of the remedies that were tried for a diverged trial.

    Attributes:
        cure: Diverged trial and what is tried for it.
        number: Number of the trial that tries it within the study of cures, from 0.
        verdict, reason, fitness: How that trial ended; the verdict is running or waiting while it has not, and the
            fitness None where there is none.
    """

    cure: Cure
    number: int
    verdict: str
    reason: str
    fitness: float | None


def cures_of(rows: Sequence[TrialRow]) -> tuple[list[Cure], list[str]]:
    """Cures for the diverged trials of a study in the order of their numbers, and why nothing is tried for others."""
    cures: list[Cure] = []
    left_out: list[str] = []
    for row in sorted(rows, key=lambda row: row.number):
        if row.verdict != Verdict.DIVERGED:
            continue
        causes = causes_of(row.diagnosis or {})
        if not causes:
            left_out.append(f"trial {row.number}: its diagnosis, of an earlier version, names no cause")
        elif not causes[0].remedies:
            left_out.append(f"trial {row.number}: no hyperparameter cures {causes[0].cause.text}")
        else:
            params = {**row.params, **_changed(causes[0].remedies)}
            cures.append(Cure(number=row.number, params=params, cause=causes[0]))
    return cures, left_out


def _changed(remedies: Sequence[Remedy]) -> dict[str, Scalar]:
    return {remedy.name: remedy.value for remedy in remedies if remedy.name != _OF_STUDY}


def cure_study(study: Study, cures: Sequence[Cure]) -> Study:
    """The study in which cures are trials: everything that any of them changes varies in it, all else is fixed.

    Args:
        study: Study whose trials diverged.
        cures: Cures to try, at least one.

    Raises:
        StudyError: The study of cures would not be allowed.
    """
    varied: dict[str, list[Scalar]] = {name: [] for cure in cures for name in cure.params}
    for name, values in varied.items():
        for cure in cures:
            value = _value_of(cure, name, study)
            if value not in values:
                values.append(value)
    needs_float32 = any(remedy.name == _OF_STUDY for cure in cures for remedy in cure.cause.remedies)
    changes: dict[str, Any] = {
        "name": f"{study.name}{SUFFIX}",
        "description": f"Diverged trials of {study.name}, each trained again with its remedy.",
        "space": {name: {"choices": values} for name, values in varied.items()},
        "sampler": "random",
        "pruner": "none",
        "scheduler": "none",
        "warm_start": (),
        "ablation": None,
        "baseline": False,
        "budget": study.to_mapping()["budget"] | {"trials": len(cures), "seconds": None},
        "precision": "float32" if needs_float32 else study.precision,
        "decisions": {decision_key(cure.number): cure.text for cure in cures},
    }
    return Study.from_mapping(study.to_mapping() | changes, origin=f"evolve cure {study.name}")


def prepared(storage: Storage, name: str) -> tuple[Study, list[Cure], list[str]]:
    """Stores the study of cures with its trials waiting, or finds the one that is stored.

    Returns:
        The study of cures; what its trials try, in their order; why nothing is tried for other diverged trials.

    Raises:
        EvolveError: The study is not stored, trains a population or measures noise, no trial of it diverged, none has
            a remedy, or cures of other trials are stored.
    """
    study = storage.stored_study(name)
    if study is None:
        raise EvolveError(f"study {name}: is not in {storage.where}; stored: {storage.study_names()}")
    if study.pbt is not None:
        raise EvolveError(f"study {name}: what diverged in a population has been replaced, by what went on from others")
    if study.noise is not None:
        text = "trains the same hyperparameters again and again to measure noise, and a cure is another hyperparameter"
        raise EvolveError(f"study {name}: {text}; run a study without noise, and cure that")
    cures, left_out = cures_of(trial_rows(storage.engine, name))
    if not cures:
        why = f": {'; '.join(left_out)}" if left_out else "; no trial of it has diverged"
        raise EvolveError(f"study {name}: there is nothing to cure{why}")
    of_cures = cure_study(study, cures)
    if (stored := storage.stored_study(of_cures.name)) is not None and stored.decisions != of_cures.decisions:
        raise StudyError(
            f"study {of_cures.name}: was made when other trials of {name} had diverged; remove it first: "
            f"evolve delete {of_cures.name}"
        )
    opened = storage.open_study(of_cures, make_sampler(of_cures), make_pruner(of_cures))
    for cure in cures[len(opened.get_trials(deepcopy=False)) :]:
        opened.enqueue_trial({name: _value_of(cure, name, study) for name in of_cures.space})
    return of_cures, cures, left_out


def _value_of(cure: Cure, name: str, study: Study) -> Scalar:
    """What a cure trains with: its own parameter, else what the study fixes."""
    value: Scalar = cure.params[name] if name in cure.params else getattr(study.hyperparameters({}), name)
    return value


def cured(storage: Storage, study: Study, cures: Sequence[Cure]) -> tuple[Cured, ...]:
    """What became of each remedy so far.

    Args:
        storage: Database that has the study of cures.
        study: The study of cures.
        cures: Cures that its trials try, in the order of the trials.
    """
    rows = {row.number: row for row in trial_rows(storage.engine, study.name)}
    return tuple(
        Cured(
            cure=cure,
            number=place,
            verdict=rows[place].verdict if place in rows else "waiting",
            reason=rows[place].reason if place in rows else "",
            fitness=rows[place].fitness if place in rows else None,
        )
        for place, cure in enumerate(cures)
    )
