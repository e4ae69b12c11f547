"""The best of a search trained again from its first trial to its last, killed and continued, and what is exported."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from evolve.confirmed import Confirmation
from evolve.errors import EvolveError
from evolve.run.confirming import confirming_study
from evolve.run.found import export_hyp
from evolve.storage import schema
from evolve.storage.confirmations import confirmation_of, read_confirmation, standing_of
from evolve.storage.database import Storage
from evolve.storage.trial_rows import trial_rows
from evolve.study import Study
from evolve.study.hyp import read_hyp
from tests.evolve.run.test_ablation import run

SEARCH = {
    "name": "hunt",
    "epochs": 2,
    "space": {"lr0": {"choices": [0.01, 0.02, 0.05, 0.1, 5.0]}},
    "sampler": "grid",
    "budget": {"trials": 5},
    "thresholds": {"floor": 0.0},
}


def searched(folder: Path) -> Study:
    folder.mkdir(exist_ok=True)
    study = Study.from_mapping(SEARCH, origin="test")
    run(study, folder)
    return study


def asked(folder: Path, *, top: int = 2, seeds: int = 3, epochs: int | None = None) -> Study:
    with closing(Storage(f"sqlite:///{folder}/evolve.db")) as storage:
        return confirming_study(storage, "hunt", top=top, seeds=seeds, epochs=epochs)


def told(study: Study, folder: Path) -> Confirmation:
    with closing(Storage(f"sqlite:///{folder}/evolve.db")) as storage:
        return read_confirmation(storage.engine, study)


def test_the_best_are_trained_again_beside_the_searchs_own_values_with_fresh_seeds(tmp_path: Path) -> None:
    searched(tmp_path)
    confirming = asked(tmp_path)
    before = told(confirming, tmp_path)
    run(confirming, tmp_path)
    found = told(confirming, tmp_path)

    assert confirming.name == "hunt-confirm" and confirming.seeds == (1, 2, 3)
    assert not before.is_complete and before.best is None
    assert found.is_complete and [each.params["lr0"] for each in found.candidates] == [0.01, 0.1, 0.05]
    assert [each.again.num_values for each in found.candidates] == [3, 3, 3]
    assert asked(tmp_path) == confirming  # asked again, nothing new is made


def test_a_confirmation_that_is_killed_again_and_again_ends_in_the_same_numbers(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        searched(folder)
    run(asked(whole), whole)
    ends = [run(asked(killed), killed, stop_after=after) for after in (2, 5, 9)]
    run(asked(killed), killed)

    assert not any(ends)
    assert told(asked(killed), killed) == told(asked(whole), whole)


def test_of_a_screening_what_all_of_its_trials_foretell_counts_and_not_the_luck_of_one(tmp_path: Path) -> None:
    space = {"lr0": [0.01, 0.1], "momentum": [0.937, 0.9], "schedule": ["linear", "cosine"]}
    given = {"sampler": "screening", "space": {name: {"choices": values} for name, values in space.items()}}
    run(Study.from_mapping(SEARCH | given | {"budget": {"trials": 9}}, origin="test"), tmp_path)
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage:
        lucky = next(row for row in trial_rows(storage.engine, "hunt") if row.params["lr0"] == 0.01 and row.number)
        with storage.engine.begin() as connection:
            of_lucky = schema.trial.c.number == lucky.number
            connection.execute(update(schema.trial).where(of_lucky).values(fitness=0.99))

    confirming = asked(tmp_path, top=1)

    assert confirming.ablation is not None
    (arm,) = confirming.ablation.arms.values()
    assert arm == lucky.params | {"lr0": 0.1}  # of the lucky one's others something is kept, which add to all eight


def test_more_epochs_or_seeds_are_another_confirmation_with_seeds_beyond_all_that_were_used(tmp_path: Path) -> None:
    searched(tmp_path)
    run(asked(tmp_path), tmp_path)
    longer = asked(tmp_path, epochs=3, seeds=4)

    assert longer.name == "hunt-confirm-2" and longer.seeds == (4, 5, 6, 7) and longer.epochs == 3


def test_no_epochs_are_refused(tmp_path: Path) -> None:
    searched(tmp_path)

    with pytest.raises(EvolveError, match="epochs: 0 is "):
        asked(tmp_path, epochs=0)


def test_what_is_exported_is_the_best_of_the_fresh_seeds_and_says_so(tmp_path: Path) -> None:
    searched(tmp_path)
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage:
        before = export_hyp(storage, "hunt", tmp_path / "before.yaml")
    run(asked(tmp_path, epochs=3), tmp_path)
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage:
        after = export_hyp(storage, "hunt", tmp_path / "after.yaml")
        found, standing = confirmation_of(storage.engine, "hunt"), standing_of(storage.engine, "hunt")

    assert found is not None and found.best is not None
    assert before.taken.standing.text == (
        "not confirmed: found once among 4 trials that trained through; evolve confirm hunt"
    )
    assert after.taken.standing == standing and standing.text.startswith("confirmed over 3 fresh seeds: ")
    assert after.taken.which == found.best.name
    assert f"Best of study hunt: {after.taken.which}" in (tmp_path / "after.yaml").read_text()
    assert read_hyp(tmp_path / "after.yaml").values.lr0 == found.best.params["lr0"]
    assert read_hyp(tmp_path / "after.yaml").training["epochs"] == 3


def test_a_search_of_which_nothing_has_trained_through_cannot_be_confirmed(tmp_path: Path) -> None:
    mapping = SEARCH | {"space": {"lr0": {"choices": [5.0, 6.0]}}, "budget": {"trials": 2}}
    run(Study.from_mapping(mapping, origin="test"), tmp_path)

    with pytest.raises(EvolveError, match="study hunt: no trial has trained through yet"):
        asked(tmp_path)
