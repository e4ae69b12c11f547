"""Studies that begin with what earlier searches found."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import yaml

from evolve.errors import StudyError
from evolve.exchange.dialects import Context, from_dialect
from evolve.exchange.warm_start import warm_start
from evolve.run.search import Search
from evolve.storage.database import Storage
from evolve.study import Study
from tests.evolve.exchange.test_import_results import GOOD, HYP, NOT_A_NUMBER, evolve_csv
from tests.evolve.run.test_runner import run
from tests.fake_runs import trials_told
from tests.fakes import fake_study

LR0 = {"low": 1e-2, "high": 10, "log": True}


def storage_in(folder: Path) -> Storage:
    return Storage(f"sqlite:///{folder}/evolve.db")


def narrow(*sources: str, sampler: str = "tpe", name: str = "second") -> Study:
    return fake_study(name=name, sampler=sampler, space={"lr0": LR0}, warm_start=list(sources))


@pytest.mark.parametrize("sampler", ["tpe", "evolution", "cmaes"])
def test_a_study_goes_on_from_another_and_when_resumed_asks_the_same(tmp_path: Path, sampler: str) -> None:
    run(fake_study(name="first", budget={"trials": 14}), tmp_path)
    study = narrow("first", sampler=sampler, name=f"from_first_{sampler}")
    found = warm_start(study, partial(storage_in, tmp_path))
    asked = []
    for earlier in (found.trials, ()):  # the second as a run that resumes
        with closing(storage_in(tmp_path)) as storage:
            search = Search(study, storage, environment_id="test", earlier=earlier)
            search.open()
            asked.append(search._sampler.params([], 0))
            assert storage.earlier(study.name) == found.trials
    with closing(storage_in(tmp_path)) as storage:
        search = Search(fake_study(name="cold", sampler=sampler, space={"lr0": LR0}), storage, environment_id="test")
        cold = search._sampler.params([], 0)

    assert asked[0] == asked[1] != cold


def test_trials_outside_the_space_are_left_out_and_diverged_ones_are_known_as_that(tmp_path: Path) -> None:
    run(fake_study(name="first", budget={"trials": 14}), tmp_path)
    inside = [trial for trial in trials_told(tmp_path, "first") if trial.params["lr0"] >= 1e-2]

    found = warm_start(narrow("first"), partial(storage_in, tmp_path))

    assert [each.params for each in found.trials] == [{"lr0": trial.params["lr0"]} for trial in inside]
    assert [each.origin for each in found.trials] == [f"first trial {trial.number}" for trial in inside]
    assert [each.margin for each in found.trials] == [trial.constraints["diverged"] for trial in inside]
    assert all((each.margin > 0) == (each.params["lr0"] >= 1) for each in found.trials)
    assert found.notes == (
        f"warm start from first: {len(inside)} of 14 ended trials; other than here: momentum, so their fitness may say "
        "less",
    )


def test_results_of_another_trainer_are_a_history_too(tmp_path: Path) -> None:
    path = tmp_path / "evolve.csv"
    path.write_text(evolve_csv((GOOD, {}), (NOT_A_NUMBER, {"lr0": 0.5}), (GOOD, {"lr0": 0.002})))

    found = warm_start(narrow(str(path)), partial(storage_in, tmp_path))

    assert [(each.params["lr0"], each.margin) for each in found.trials] == [(0.01, -1.0), (0.5, 1.0)]
    assert found.trials[0].fitness == found.trials[1].fitness == pytest.approx(0.43)


def test_results_of_another_trainer_are_read_as_of_the_studys_own_training(tmp_path: Path) -> None:
    path = tmp_path / "evolve.csv"
    path.write_text(evolve_csv((GOOD, {}), (GOOD, {"lr0": 0.02})))
    study = Study.from_mapping(
        {
            "name": "second",
            "data": "photos",
            "model": "yolov3-tiny",
            "image_size": 192,
            "space": {name: {"low": 0.001, "high": 5, "log": True} for name in ("lr0", "noobj")},
            "sampler": "tpe",
            "warm_start": [str(path)],
            "budget": {"trials": 3},
        },
        origin="test",
    )
    own = Context(model="yolov3-tiny", image_size=192, batch_size=study.batch_size, nominal_batch_size=16, epochs=30)

    found = warm_start(study, partial(storage_in, tmp_path))

    values = from_dialect("yolov3", yaml.safe_dump(HYP), own, origin="test").values
    assert [each.params for each in found.trials] == [{"lr0": lr0, "noobj": values.noobj} for lr0 in (0.01, 0.02)]
    (note,) = found.notes
    assert "image_size" not in note and "model" not in note  # neither of them differs
    assert note.endswith(
        "; taken for trainings such as this study's; assumed: --classes 80, --images 118287: where they were others, "
        f"`evolve import {path} --name NAME --classes N --images N` and name that study here"
    )


def test_children_of_earlier_trials_say_whose_they_are(tmp_path: Path) -> None:
    run(fake_study(name="first", budget={"trials": 14}), tmp_path)
    study = narrow("first", sampler="evolution")
    found = warm_start(study, partial(storage_in, tmp_path))
    with closing(storage_in(tmp_path)) as storage:
        search = Search(study, storage, environment_id="test", earlier=found.trials)
        search.open()
        stored = search.ask().stored

    parent = stored.system_attrs["evolve:parent"]
    assert -len(found.trials) <= parent < 0
    assert found.trials[parent].margin < 0  # counted from the end, and never one that diverged


def test_a_database_without_the_source_is_named_without_its_password(tmp_path: Path) -> None:
    with closing(storage_in(tmp_path)) as storage:
        storage.url = "postgresql+psycopg://me:secret@host/x"

        with pytest.raises(StudyError, match=r"first is no study in postgresql\+psycopg://me:\*\*\*@host/x, which has"):
            warm_start(narrow("first"), lambda: storage)


def test_a_source_that_is_nowhere_and_one_without_a_trial_in_the_space_are_errors(tmp_path: Path) -> None:
    run(fake_study(name="first", budget={"trials": 3}), tmp_path)
    far = fake_study(name="far", sampler="tpe", space={"lr0": {"low": 100, "high": 1000}}, warm_start=["first"])

    with pytest.raises(StudyError, match=r"study second: warm_start: frist is no study in .*\['first'\], and no file"):
        warm_start(narrow("frist"), partial(storage_in, tmp_path))
    with pytest.raises(StudyError, match="study far: warm_start: first: of 3 ended trials none lies in the space"):
        warm_start(far, partial(storage_in, tmp_path))


def test_a_sampler_that_looks_at_nothing_cannot_be_warmed() -> None:
    with pytest.raises(StudyError, match="warm_start: 'random' looks at no earlier trials; take guided"):
        narrow("first", sampler="random")
