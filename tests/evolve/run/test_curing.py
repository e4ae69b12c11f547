"""Each diverged trial is trained again with its remedy, as a trial of a study of its own that goes on when stopped."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from evolve.errors import EvolveError
from evolve.outcome.explanations import Cause, Explanation, Remedy
from evolve.run.curing import Cure, cure_study, cures_of, prepared
from evolve.search.pruners import make_pruner
from evolve.search.samplers import make_sampler
from evolve.storage.database import Storage
from evolve.storage.trial_rows import TrialRow
from evolve.study import Study
from tests.processes import evolve
from tests.small_study import SMALL
from tests.synthetic import Plan, add_study, new_engine

STUDY = Study.from_mapping(
    {"name": "small", "space": {"lr0": {"low": 0.01, "high": 100.0, "log": True}}, "budget": {"trials": 9}}, origin="-"
)
HERE = ("--engine", "serial", "--device", "cpu")
LOWER = Remedy(name="lr0", before=50.0, value=0.3, why="a quarter of the limit")
BOUNDED = Remedy(name="coding", before="exp", value="bounded", why="no box is larger")


def explained(*remedies: Remedy, cause: Cause = Cause.RATE) -> Explanation:
    return Explanation(cause=cause, strength=1.0, evidence={}, remedies=remedies)


def row(number: int, verdict: str = "diverged", causes: tuple[Explanation, ...] = ()) -> TrialRow:
    return TrialRow(
        study="small",
        number=number,
        verdict=verdict,
        fitness=None,
        params={"lr0": 50.0},
        reason="",
        seconds=None,
        trainings=(),
        by_seed={},
        diagnosis={"causes": [asdict(each) for each in causes]} if verdict == "diverged" else None,
        notes=(),
        events=(),
        checkpoints=(),
        traceback="",
    )


def test_diverged_trials_are_cured_by_their_strongest_cause_and_others_are_named() -> None:
    rows = [
        row(4, causes=(explained(LOWER), explained(BOUNDED, cause=Cause.BOX_SIZE))),
        row(2),
        row(0, "converged"),
        row(3, causes=(explained(cause=Cause.BAD_LABEL),)),
    ]

    cures, left_out = cures_of(rows)

    assert [(cure.number, dict(cure.params)) for cure in cures] == [(4, {"lr0": 0.3})]
    assert left_out == [
        "trial 2: its diagnosis, of an earlier version, names no cause",
        "trial 3: no hyperparameter cures a label that cannot be learned",
    ]


def test_the_study_of_cures_varies_what_any_of_them_changes() -> None:
    cures = [
        Cure(number=1, params={"lr0": 0.3}, cause=explained(LOWER)),
        Cure(number=5, params={"lr0": 50.0, "coding": "exp"}, cause=explained(BOUNDED, cause=Cause.BOX_SIZE)),
    ]

    found = cure_study(STUDY, cures)

    assert found.name == "small-cured"
    assert found.space.to_mapping() == {"lr0": {"choices": [0.3, 50.0]}, "coding": {"choices": ["bounded", "exp"]}}
    assert list(found.decisions) == ["trial.1", "trial.5"]
    assert found.budget.trials == 2


@pytest.mark.timeout(900)
def test_earlier_trials_are_of_the_search_alone() -> None:
    study = Study.from_mapping(STUDY.to_mapping() | {"warm_start": ["before"]}, origin="-")
    cures = [Cure(number=4, params={"lr0": 0.3}, cause=explained(LOWER))]

    assert cure_study(study, cures).warm_start == ()


def test_a_diverged_trial_is_cured_counted_and_shown(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    evolve(tmp_path, "run", "--study", "small.yaml", *HERE)

    found = cured(tmp_path)
    again = cured(tmp_path)

    assert (found["tried"], found["cured"]) == (1, 1)
    assert found["interval"] == pytest.approx([0.025, 1.0])
    (tried,) = found["trials"]
    assert (tried["trial"], tried["is_cured"]) == (1, True)
    assert tried["remedies"]
    assert again == found
    evolve(tmp_path, "report", "small", "-o", "report.html")
    assert "Cured: 1 of 1 (100%, 95% interval" in (tmp_path / "report.html").read_text()


def test_where_nothing_diverged_there_is_nothing_to_cure(tmp_path: Path) -> None:
    add_study(new_engine(tmp_path / "evolve.db"), Plan(name="sound", num_trials=1, verdicts=["converged"]))

    with pytest.raises(EvolveError, match="there is nothing to cure; no trial of it has diverged"):
        prepared(Storage(f"sqlite:///{tmp_path}/evolve.db"), "sound")


def test_what_diverged_in_a_study_of_noise_is_not_cured(tmp_path: Path) -> None:
    study = Study.from_mapping({"name": "noisy", "noise": {"levels": 2}}, origin="-")
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage:
        storage.open_study(study, make_sampler(study), make_pruner(study))

        with pytest.raises(
            EvolveError, match="study noisy: trains the same hyperparameters again and again to measure"
        ):
            prepared(storage, "noisy")


def cured(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evolve(folder, "cure", "small", *HERE, "--json").stdout)
    return found


def test_a_database_without_the_study_is_named_without_its_password(tmp_path: Path) -> None:
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage:
        storage.url = "postgresql+psycopg://me:secret@host/x"

        with pytest.raises(EvolveError, match=r"study none: is not in postgresql\+psycopg://me:\*\*\*@host/x; "):
            prepared(storage, "none")
