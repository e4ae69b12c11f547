"""Which arm of an ablation is exported, and what is said of it: nothing unproven unless it is asked for."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from detector.checkpoint import load, save
from evolve.ablation.chosen import ChosenArm, chosen_arm
from evolve.cli import app
from evolve.errors import EvolveError
from evolve.exchange.conversion import Exported, export_study
from evolve.run.detection import checkpoint_path
from evolve.run.engines import SerialEngine
from evolve.run.found import found_by, provenance
from evolve.run.keeping import unneeded
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.hyp import read_hyp
from tests.detector.test_checkpoint import a_checkpoint
from tests.evolve.ablation.test_sharing import BASE, shown
from tests.fake_runs import events_of
from tests.fakes import make_fake

ARMS = {"arms": {"good": {"lr0": 0.02}, "great": {"lr0": 0.03}}}
BETTER = [value + 0.1 for value in BASE if isinstance(value, float)]
BEST = [value + 0.2 for value in BASE if isinstance(value, float)]
HIGHER = [value + (0.3 if seed % 2 else -0.2) for seed, value in enumerate(BETTER)]  # by 0.15, and never surely


LONG = [*BASE, 0.50, 0.52, 0.49, 0.51]  # of twelve seeds
LOST = ["diverged", *[value + 0.2 for value in LONG[1:] if isinstance(value, float)]]  # the best of three, but for one


def chosen(good: list[Any], great: list[Any], base: list[Any] = BASE, trial: int | None = None) -> ChosenArm | None:
    ends = {"baseline": base, "good": good, "great": great}
    fitness = {
        number: sum(each) / len(each)
        for number, each in enumerate(ends.values())
        if all(isinstance(value, float) for value in each)
    }
    return chosen_arm(shown(ARMS | {"seeds": len(base)}, ends), fitness, trial=trial)


def test_the_best_of_the_arms_that_are_shown_to_be_better_is_taken() -> None:
    found = chosen(BETTER, BEST)

    assert found is not None and (found.arm, found.trial) == ("great", 2)
    assert found.said.startswith("great is better than the baseline: +0.200 (+0.200 to +0.200), p ")
    assert found.said.endswith(", n 8") and found.as_mapping()["is_better"]


def test_a_higher_arm_that_is_not_shown_to_be_better_gives_way_to_one_that_is() -> None:
    found = chosen(BETTER, HIGHER)

    assert found is not None and found.arm == "good" and "good is better than the baseline: +0.100" in found.said


def test_an_arm_that_is_shown_to_be_better_is_taken_although_a_seed_of_it_diverged() -> None:
    found, all_lost = chosen(LONG, LOST, base=LONG), chosen(LOST, LOST, base=["diverged", *LONG[1:]])

    assert found is not None and (found.arm, found.trial, found.as_mapping()["is_better"]) == ("great", 2, True)
    assert found.said.startswith("great is better than the baseline: +0.200") and found.said.endswith(
        ", n 12, 1 of them diverged"
    )
    assert all_lost is not None and all_lost.arm == "good" and all_lost.effect is not None


def test_where_no_arm_is_shown_to_be_better_it_is_the_baseline_and_the_highest_is_named() -> None:
    found = chosen(list(BASE), HIGHER)

    assert found is not None and (found.arm, found.trial, found.name) == ("baseline", 0, "the baseline, trial 0")
    assert found.said.startswith(
        "no arm is shown to be better than the baseline with 8 seeds, so this is the baseline; "
        "the highest, trial 2 (great): +0.150 (-0.0"
    )
    assert found.said.endswith(", n 8; --trial 2 exports it")
    told = found.as_mapping()
    assert (told["arm"], told["trial"], told["is_better"], told["effect"]) == ("baseline", 0, False, None)
    assert told["higher"]["trial"] == 2 and told["higher"]["effect"]["verdict"] == "unclear"


def test_a_baseline_that_is_the_highest_names_no_other() -> None:
    found = chosen([0.1] * 8, [0.2] * 8)

    assert found is not None and found.said == "no arm is shown to be better than the baseline with 8 seeds"


def test_an_arm_that_is_asked_for_says_what_is_known_of_it() -> None:
    unproven, proven, baseline = (
        chosen(list(BASE), HIGHER, trial=2),
        chosen(BETTER, BEST, trial=1),
        chosen(BETTER, BEST, trial=0),
    )

    assert unproven is not None and proven is not None and baseline is not None
    assert unproven.said.startswith(
        "asked for by its number: great is not shown to be better than the baseline: +0.150"
    )
    assert proven.said.startswith("asked for by its number: good is better than the baseline: +0.100")
    assert baseline.said == "asked for by its number: what 2 arms are compared with"


def test_what_is_missing_may_change_the_choice_and_is_said() -> None:
    found = chosen([*BETTER[:7], "missing"], BETTER)

    assert found is not None and found.said.endswith("; 1 of 24 trainings missing, so this may change")


def test_a_baseline_that_diverges_is_not_exported() -> None:
    found = chosen([0.1] * 8, [0.2] * 8, base=["diverged", "diverged", *BASE[2:]])

    assert found is not None and (found.arm, found.trial) == ("great", 2)
    assert found.said.startswith("the baseline did not train through with 8 seeds; great is ")


def test_without_a_trial_that_trained_through_nothing_is_taken() -> None:
    nothing: list[Any] = ["diverged"] * 8

    assert chosen(nothing, nothing, base=nothing) is None


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an ablation of one arm, whose seeds are by turns better and worse than the baseline's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    raw = {"name": "toy", "epochs": 4, "ablation": {"one_factor": {"lr0": [0.02]}, "seeds": 6}}
    study = Study.from_mapping(raw, origin="test")
    events_of(study, tmp_path / "runs", SerialEngine(partial(make_fake, 4, tmp_path)))
    with closing(Storage("sqlite:///runs/evolve.db")) as storage, storage.engine.begin() as connection:
        apart = "update evolve_training set fitness = fitness + (seed % 2) * 0.4 - 0.24 where trial_id = 2"
        connection.execute(text(apart))
    return tmp_path


def exported(**options: Any) -> Exported:
    with closing(Storage("sqlite:///runs/evolve.db", reads_only=True)) as storage:
        return export_study(storage, "toy", "native", Path("hyp.yaml"), chosen={}, schedule=None, **options)


@pytest.mark.usefixtures("trained")
def test_the_file_of_an_ablation_is_of_the_baseline_and_its_head_says_that_nothing_is_proven() -> None:
    done = exported()
    head = Path("hyp.yaml").read_text().splitlines()

    assert read_hyp(Path("hyp.yaml")).values.lr0 == 0.01
    assert head[0] == "# Of ablation toy: the baseline, trial 0 of 2."
    assert head[1].startswith(
        "# No arm is shown to be better than the baseline with 6 seeds, so this is the baseline; "
    )
    assert "the highest, trial 1 (lr0=0.02): " in head[1] and "n 6; --trial 1 exports it" in head[1]
    told = done.as_mapping()["arm"]
    assert (told["arm"], told["is_better"], told["higher"]["trial"]) == ("baseline", False, 1)
    assert told["higher"]["effect"]["low"] < 0 < told["higher"]["effect"]["high"]


@pytest.mark.usefixtures("trained")
def test_the_highest_arm_is_exported_by_its_number_and_its_head_says_that_it_is_unproven() -> None:
    done = exported(trial=1)
    head = Path("hyp.yaml").read_text().splitlines()
    arm = done.as_mapping()["arm"]

    assert read_hyp(Path("hyp.yaml")).values.lr0 == 0.02
    assert head[0] == "# Of ablation toy: lr0=0.02, trial 1 of 2."
    assert "lr0=0.02 is not shown to be better than the baseline: " in head[1] and head[1].endswith("n 6")
    assert (arm["arm"], arm["is_better"], arm["effect"]["verdict"]) == ("lr0=0.02", False, "unclear")
    assert arm["effect"]["low"] < 0 < arm["effect"]["high"] and arm["effect"]["num_seeds"] == 6


@pytest.fixture(params=["2", "1, 2"], ids=["arm", "both"])
def unlucky(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an ablation whose arm is better; seed 0 of the arm diverged, or of the baseline as well."""
    monkeypatch.chdir(tmp_path)
    raw = {"name": "toy", "epochs": 4, "ablation": {"one_factor": {"lr0": [0.1]}, "seeds": 9}}
    (tmp_path / "runs").mkdir()
    events_of(Study.from_mapping(raw, origin="test"), tmp_path / "runs", SerialEngine(partial(make_fake, 4, tmp_path)))
    lost = f"set verdict = 'diverged', fitness = null where trial_id in ({request.param})"
    with closing(Storage("sqlite:///runs/evolve.db")) as storage, storage.engine.begin() as connection:
        connection.execute(text(f"update evolve_training {lost} and seed = 0"))
        connection.execute(text(f"update evolve_trial {lost}"))
    return tmp_path


@pytest.mark.usefixtures("unlucky")
@pytest.mark.parametrize("trial", [None, 1])
def test_a_better_arm_that_lost_a_seed_is_exported_with_what_the_others_reached(trial: int | None) -> None:
    done = exported(trial=trial)
    head = Path("hyp.yaml").read_text().splitlines()

    assert read_hyp(Path("hyp.yaml")).values.lr0 == 0.1 and done.as_mapping()["arm"]["is_better"]
    assert head[0] == "# Of ablation toy: lr0=0.1, trial 1 of 2."
    assert "0.1 is better than the baseline: " in head[1] and head[1].endswith(", n 9, 1 of them diverged")
    assert "seeds [1, 2, 3, 4, 5, 6, 7, 8], without 0 (not trained through): 0." in head[2]
    best = done.taken.best
    assert best.lost == (0,) and best.seeds == 8 and best.fitness == pytest.approx(0.575 * 0.94, abs=0.05)


def origin_in(storage: Storage) -> str:
    """What checkpoints of the ablation say that they are of."""
    return f"{storage.ledger.identity(storage.study_id('toy'))}:data"


def test_the_run_and_show_name_the_better_arm_and_weights_of_the_seeds_that_are_not_lost(unlucky: Path) -> None:
    folder = unlucky / "runs" / "toy"
    with closing(Storage("sqlite:///runs/evolve.db")) as storage:
        study = storage.stored_study("toy")
        assert study is not None
        for seed in (0, 1):
            save(replace(a_checkpoint(), origin=origin_in(storage)), checkpoint_path(folder, 1, seed=seed))

        found = found_by(storage, study, folder)
    shown_then = CliRunner().invoke(app, ["show", "toy"]).output

    assert found.taken is not None and found.taken.arm is not None and found.taken.arm.arm == "lr0=0.1"
    assert [kept.seed for kept in found.weights] == [1]
    assert "export  lr0=0.1, trial 1: lr0=0.1 is better" in shown_then
    assert shown_then.endswith("next    evolve export toy\n")


@pytest.mark.usefixtures("trained")
def test_commands_say_so_and_name_the_next_one() -> None:
    said = CliRunner().invoke(app, ["export", "toy"]).output
    shown_then = CliRunner().invoke(app, ["show", "toy"]).output

    assert "hyp     runs/toy/hyp.yaml  (the baseline, trial 0, fitness 0." in said
    assert "proof   no arm is shown to be better than the baseline with 6 seeds" in said
    assert "export  the baseline, trial 0: no arm is shown to be better" in shown_then
    assert shown_then.endswith("next    evolve export toy\n")


def test_the_weights_that_are_kept_and_written_are_of_the_trial_that_the_file_is_of(trained: Path) -> None:
    folder = trained / "runs" / "toy"
    with closing(Storage("sqlite:///runs/evolve.db")) as storage:
        study = storage.stored_study("toy")
        assert study is not None and storage.best(storage.study_id("toy")) == 1
        for trial in (0, 1):
            own = replace(a_checkpoint(), epoch=trial, origin=origin_in(storage))
            save(own, checkpoint_path(folder, trial, seed=0))

        found = found_by(storage, study, folder)
        dropped = [*unneeded(folder, study, storage, storage.study_id("toy"))]

    assert found.taken is not None and found.taken.arm is not None and found.taken.arm.trial == 0
    assert [load(each.path).epoch for each in found.weights] == [0]
    assert not dropped


def test_weights_that_an_earlier_study_of_the_name_left_are_not_written_as_this_ones(trained: Path) -> None:
    left = checkpoint_path(trained / "runs" / "toy", 0, seed=0)
    save(replace(a_checkpoint(), origin="0123:data"), left)
    with closing(Storage("sqlite:///runs/evolve.db")) as storage:
        study = storage.stored_study("toy")
        assert study is not None

        found = found_by(storage, study, trained / "runs" / "toy")

    assert found.weights == ()
    assert found.problems == (f"{left}: is of another study or another database",)


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an ablation of which arm `good` is shown to be better, and `great` is higher and unproven."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    study = Study.from_mapping({"name": "toy", "epochs": 4, "ablation": {**ARMS, "seeds": 8}}, origin="test")
    events_of(study, tmp_path / "runs", SerialEngine(partial(make_fake, 4, tmp_path)))
    with closing(Storage("sqlite:///runs/evolve.db")) as storage, storage.engine.begin() as connection:
        for trial_id, values in ((1, BASE), (2, BETTER), (3, HIGHER)):
            for seed, value in enumerate(values):
                one = f"trial_id = {trial_id} and seed = {seed}"
                connection.execute(text(f"update evolve_training set fitness = {value} where {one}"))
        mean = "select avg(fitness) from evolve_training own where own.trial_id = evolve_trial.trial_id"
        connection.execute(text(f"update evolve_trial set fitness = ({mean})"))
        origin = origin_in(storage)
    for trial in (0, 1, 2):
        own = replace(a_checkpoint(), epoch=trial, origin=origin)
        save(own, checkpoint_path(tmp_path / "runs/toy", trial, seed=0))
    return tmp_path / "runs/toy"


def test_the_weights_of_an_arm_that_is_taken_though_another_is_higher_are_kept(third: Path) -> None:
    with closing(Storage("sqlite:///runs/evolve.db")) as storage:
        study, study_id = storage.stored_study("toy"), storage.study_id("toy")
        assert study is not None and storage.best(study_id) == 2

        dropped = [*unneeded(third, study, storage, study_id)]
        found = found_by(storage, study, third)

    assert not dropped
    assert found.taken is not None and found.taken.arm is not None and found.taken.arm.trial == 1
    assert [load(weights.path).epoch for weights in found.weights] == [1]


@pytest.mark.usefixtures("trained")
def test_a_trial_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(EvolveError, match="trial 9: there is none, or it has not ended; trained through: 0 and 1"):
        exported(trial=9)


def test_a_trial_of_a_search_is_exported_by_its_number_and_says_which_is_best(tmp_path: Path) -> None:
    raw = {
        "name": "hunt",
        "epochs": 4,
        "space": {"lr0": {"choices": [0.1, 0.02, 5.0]}},
        "sampler": "grid",
        "budget": {"trials": 3},
    }
    events_of(Study.from_mapping(raw, origin="test"), tmp_path, SerialEngine(partial(make_fake, 4, tmp_path)))

    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db", reads_only=True)) as storage:
        rates = {each.params["lr0"]: each.number for each in storage.optuna.get_all_trials(1)}
        other, best = (provenance(storage, "hunt", trial=rates[lr0]) for lr0 in (0.02, 0.1))
        with pytest.raises(EvolveError, match="it is diverged; trained through: "):
            provenance(storage, "hunt", trial=rates[5.0])

    assert other.taken.best.params == {"lr0": 0.02} and other.taken.arm is None
    assert other.taken.standing.text.startswith(f"asked for by its number: the best is trial {rates[0.1]}, fitness 0.")
    assert best.taken.standing.text.startswith("not confirmed: found once among 2 trials")
