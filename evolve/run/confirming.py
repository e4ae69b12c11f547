"""Which study trains the best of a search again: the one that does so already, or a new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evolve.errors import EvolveError
from evolve.findings.screening import screened_of
from evolve.run.data import DataChecked, check_unchanged, surveyed
from evolve.run.found import best_of, grounded
from evolve.storage.confirmations import confirmations
from evolve.storage.database import Storage
from evolve.storage.trial_rows import trial_rows
from evolve.study import Study
from evolve.study.confirming import (
    candidates,
    check_confirmable,
    confirmation,
    fresh_seeds,
    is_same_request,
    name_of,
)
from evolve.study.space import Scalar


def confirming_study(storage: Storage, name: str, *, top: int, seeds: int, epochs: int | None) -> Study:
    """The study that trains the best of a search again; one that is stored with as much goes on.

    Args:
        storage: The database that has the search.
        name: Name of the search.
        top: Number of candidates beside the search's own values, at most.
        seeds: Number of fresh seeds.
        epochs: Epochs of each training; None for as many as the search had.

    Raises:
        EvolveError: The search has nothing that could be confirmed.
    """
    study = storage.stored_study(name)
    if study is None:
        raise EvolveError(f"study {name}: was not made by evolve, so that nobody knows how to train it again")
    check_confirmable(study)
    best = best_of(storage, name)
    if best is None:
        raise EvolveError(f"study {name}: no trial has trained through yet, so there is none to confirm")
    if (nothing := grounded(storage, study, best)) is not None:
        raise EvolveError(f"study {name}: {nothing.text}, so there is nothing to confirm")
    chosen = candidates(study, _ranked(storage, study), top=top)
    earlier, names = confirmations(storage.engine, name), storage.study_names()
    number = next(count for count in range(1, len(names) + 2) if name_of(name, count) not in names)
    used = {*study.seeds, *(seed for earlier_study in earlier for seed in earlier_study.seeds)}
    length = study.epochs if epochs is None else epochs
    new = confirmation(study, chosen, name=name_of(name, number), seeds=fresh_seeds(used, seeds), epochs=length)
    return next((earlier_study for earlier_study in earlier if is_same_request(earlier_study, new)), new)


def _ranked(storage: Storage, study: Study) -> Iterator[tuple[int, Mapping[str, Scalar]]]:
    """Trials that trained through, the best first: of a screening by what all of its trials foretell of each."""
    rows = trial_rows(storage.engine, study.name)
    found = screened_of(study, [row.tried for row in rows])
    trained = [row for row in rows if row.is_trained_through]
    if found is not None and found.effects:
        trained.sort(key=lambda row: -found.estimated(row.params))
    return ((row.number, row.params) for row in trained)


def checked_as_searched(storage: Storage, search: str, study: Study) -> DataChecked:
    """What the data of a study hold, after making sure that they are those that a search was trained on.

    Args:
        storage: The database that has the search.
        search: Name of the search.
        study: Study that is to be trained on the same data.

    Raises:
        StudyError: The data have changed since; the text says what.
    """
    checked = surveyed(study, None)
    check_unchanged(storage, search, checked, accepts_changed=False)
    return checked
