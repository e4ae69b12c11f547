"""The page of one trial: which seed it shows, why it diverged, where its weights are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from sqlalchemy import Engine, event, insert, select, update

from dashboards.blocks import Empty, Prose, Table, Tiles, VerdictMark
from dashboards.data.reader import Reader
from dashboards.data.resolved import typed_params
from dashboards.data.trial import TrialView
from dashboards.live.app import page_of
from dashboards.live.callbacks import panel_content
from dashboards.live.context import PanelContext
from dashboards.questions import trial_files, trial_outcome
from dashboards.rendering import Element, panel_body
from dashboards.state import PageState
from evolve.outcome.forensics import Diagnosis
from evolve.storage import schema
from evolve.study import Study
from evolve.study.hyp import HypFile, parse_hyp
from tests.dashboards.examples import of_kind
from tests.shown import drawn
from tests.synthetic import Plan, add_study, new_engine

NAME = "digits-lr"
LOOKS = {"name": NAME, "data": "digits-3", "ablation": {"arms": {"faster": {"lr0": 0.2}}, "looks": [6, 10]}}
NOISE = {"name": NAME, "data": "digits-3", "noise": {"sources": ["initialisation", "order"], "levels": 2}}
FIRST_EPOCH = "diverged in the first epoch, before the first checkpoint"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return new_engine(tmp_path / "own.db")


def view_of(engine: Engine, number: int = 0, seed: int | None = None) -> TrialView:
    view = Reader(str(engine.url)).view(PageState(page="/trial", study=NAME, number=number, seed=seed))
    assert isinstance(view, TrialView)
    return view


def let_seed_diverge(engine: Engine, seed: int, *, is_stored: bool = True) -> None:
    """Makes trial 0 one whose other seeds kept their numbers; older versions stored no seed with the diagnosis."""
    number, step = schema.trial.c.number, schema.step
    with engine.begin() as connection:
        stored = json.loads(connection.scalar(select(schema.trial.c.diagnosis).where(number == 0)) or "{}")
        stored = stored | {"seed": seed} if is_stored else {key: stored[key] for key in stored if key != "seed"}
        connection.execute(update(schema.trial).where(number == 0).values(diagnosis=json.dumps(stored)))
        sound = {"loss": 1.0, "grad_norm": 1.0}
        connection.execute(update(step).where(step.c.seed != seed, step.c.loss.is_(None)).values(sound))


def end_in_first_epoch(engine: Engine, seed: int) -> None:
    with engine.begin() as connection:
        connection.execute(schema.epoch.delete().where(schema.epoch.c.seed == seed))


def keep_checkpoint(engine: Engine, seed: int) -> None:
    row = {"trial_id": 1, "seed": seed, "epoch": 2, "step": 60, "path": f"trials/0000/seed-{seed}.pt"}
    with engine.begin() as connection:
        connection.execute(insert(schema.checkpoint).values(row))


def configure(engine: Engine, **changes: Any) -> Study:
    """Changes what is stored of the study's definition, which is returned."""
    own = schema.study.c.config
    with engine.begin() as connection:
        config = json.loads(connection.scalar(select(own)) or "{}") | changes
        connection.execute(update(schema.study).values(config=json.dumps(config)))
    return Study.from_json(json.dumps(config))


def trained_again(engine: Engine, number: int = 0) -> tuple[str, HypFile]:
    """The command that trains a trial again, and the file that it is given."""
    found = trial_files.reproduction_rows(view_of(engine, number))
    assert not isinstance(found, Empty)
    text, command = found[1].text.split("END_OF_HYP'\n")[1].split("END_OF_HYP\n")
    return command.strip(), parse_hyp(text, "shown")


def sentences_of(found: Any) -> str:
    return " ".join(sentence.text for sentence in of_kind(found, Prose))


# What it warned of


def test_a_trial_whose_steps_had_warned_says_so_and_no_other_does(engine: Engine) -> None:
    warned = {1: "update 3.1 above 1.21 at step 12"}
    add_study(engine, Plan(num_trials=2, verdicts=["converged", "diverged"], log_steps=False, warned=warned))
    reader = Reader(str(engine.url))

    said = [
        sentences_of(trial_outcome.rows(reader.view(PageState(page="/trial", study="digits-lr", number=number))))
        for number in (0, 1)
    ]

    assert "warned" not in said[0]
    assert "Its steps had warned: update 3.1 above 1.21 at step 12." in said[1]


# Which seed


@pytest.mark.parametrize("is_stored", [True, False], ids=["stored", "older"])
def test_the_seed_that_diverged_is_shown_first_and_the_page_says_why(engine: Engine, is_stored: bool) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["diverged"], seeds=(0, 1, 2)))
    let_seed_diverge(engine, 1, is_stored=is_stored)

    shown, other = view_of(engine), view_of(engine, seed=2)

    assert (shown.seed, shown.diverged_seed) == (1, 1)
    assert "those of seed 1, the one that diverged" in sentences_of(trial_outcome.rows(shown))
    assert "those of seed 2, as chosen above; seed 1 is the one" in sentences_of(trial_outcome.rows(other))
    assert "The training with seed 1 diverged." in sentences_of(trial_outcome.diagnosis_rows(other))


def test_of_several_seeds_that_trained_through_the_first_is_shown_and_of_one_nothing_is_said(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["converged"], seeds=(4, 7)))
    add_study(engine, Plan(name="single", num_trials=1, verdicts=["diverged"]))
    single = Reader(str(engine.url)).view(PageState(page="/trial", study="single", number=0))
    assert isinstance(single, TrialView)

    assert "those of seed 4, the first of 2." in sentences_of(trial_outcome.rows(view_of(engine)))
    assert "those of seed 7, as chosen above." in sentences_of(trial_outcome.rows(view_of(engine, seed=7)))
    assert "seed" not in sentences_of(trial_outcome.rows(single))
    assert single.diverged_seed == 0


# What became of it


def test_each_of_several_trainings_has_a_row_with_what_became_of_it(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=2, verdicts=["diverged", "converged"], seeds=(4, 7)))
    training = schema.training.c
    with engine.begin() as connection:
        first = (training.trial_id == 1) & (training.seed == 4)
        sound = {"verdict": "converged", "fitness": 0.5, "reason": "flat at the end", "diagnosis": None}
        connection.execute(update(schema.training).where(first).values(sound))

    (found,) = (block for block in trial_outcome.rows(view_of(engine)) if isinstance(block, Table))
    page = drawn(Reader(str(engine.url)), PageState(page="/trial", study=NAME, number=0))

    assert found.rows[0][:3] == (4, "converged", 0.5)
    assert found.rows[1][:2] == (7, "diverged")
    assert found.rows[1][4].startswith("loss nan at step")
    assert "flat at the end" in page


def test_of_a_single_training_the_trial_says_it_all(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["converged"]))

    assert not any(isinstance(block, Table) for block in trial_outcome.rows(view_of(engine)))


def test_the_verdict_of_one_trial_is_not_counted(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["converged"]))

    assert VerdictMark("converged") in trial_outcome.rows(view_of(engine))
    count = '"children":["1"]},"type":"B"'
    reader = Reader(str(engine.url))
    assert count not in drawn(reader, PageState(page="/trial", study=NAME))
    assert count in drawn(reader, PageState(page="/study", study=NAME))


def test_a_pruned_trial_that_was_ahead_of_the_best_is_said_to_be_above_it(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=2, verdicts=["converged", "pruned"]))
    with engine.begin() as connection:
        for number, fitness in enumerate((0.4, 0.5)):
            connection.execute(update(schema.trial).where(schema.trial.c.number == number).values(fitness=fitness))

    assert of_kind(trial_outcome.rows(view_of(engine, 1)), Tiles)[0].tiles[0].detail == "0.100 above trial 0"


# Why it diverged


def test_the_diagnosis_comes_first_where_a_trial_diverged(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=2, verdicts=["diverged", "converged"]))
    reader = Reader(str(engine.url))

    pages = [page_of(reader, PageState(page="/trial", study=NAME, number=number)) for number in (0, 1)]

    first = [page[-1].children[0].id for page in pages]
    assert first == ["diagnosis", "summary"]


def test_a_diagnosis_is_sentences_then_the_table(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["diverged"]))

    view = view_of(engine)
    found = trial_outcome.diagnosis_rows(view)

    expected = Diagnosis.from_mapping(view.study.diagnoses[0]).sentences
    assert of_kind(found, Prose) == [Prose(text) for text in expected]
    titles = [row[0] for row in of_kind(found, Table)[0].rows]
    assert "step" in titles and "summary" not in titles


@pytest.mark.parametrize("text", ['{"step": "NaN", "lr": []}', "{not json", '{"step": 3, "summary": "loss nan"}'])
def test_a_diagnosis_that_cannot_be_told_in_full_is_shown_as_it_is(engine: Engine, text: str) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["diverged"], reason="loss nan"))
    with engine.begin() as connection:
        connection.execute(update(schema.trial).values(diagnosis=text))

    found = trial_outcome.diagnosis_rows(view_of(engine))

    assert of_kind(found, Prose) == [Prose("loss nan")]
    assert of_kind(found, Table)[0].rows


def test_a_trial_that_diverged_without_a_diagnosis_is_not_said_to_be_sound(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["diverged"]))
    with engine.begin() as connection:
        connection.execute(update(schema.trial).values(diagnosis=None))

    found = trial_outcome.diagnosis_rows(view_of(engine))

    assert isinstance(found, Empty) and found.text.startswith("This trial diverged, but no diagnosis")


# Where its weights are


def test_a_trial_that_diverged_in_its_first_epoch_says_why_it_has_no_checkpoint(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["diverged"]))
    end_in_first_epoch(engine, 0)

    assert trial_files.checkpoint_rows(view_of(engine)) == Empty(f"There is no checkpoint: {FIRST_EPOCH}.")


def test_each_seed_has_a_row_with_its_checkpoint_or_why_there_is_none(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["diverged"], seeds=(0, 1, 2)))
    let_seed_diverge(engine, 1)
    end_in_first_epoch(engine, 1)
    with engine.begin() as connection:
        for table in (schema.epoch, schema.step):
            connection.execute(table.delete().where(table.c.seed == 2))
    keep_checkpoint(engine, 0)

    found = trial_files.checkpoint_rows(view_of(engine))

    assert isinstance(found, Table)
    assert [(row[0], row[-1]) for row in found.rows] == [
        (0, "trials/0000/seed-0.pt"),
        (1, f"none: {FIRST_EPOCH}"),
        (2, "none: not trained, since another seed diverged"),
    ]


def test_weights_that_were_dropped_for_better_ones_are_said_to_be_removed(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=2, verdicts=["converged", "converged"]))
    keep_checkpoint(engine, 0)
    configure(engine, keep_weights="best")
    with engine.begin() as connection:
        connection.execute(update(schema.trial).where(schema.trial.c.number == 1).values(fitness=0.99))

    found = trial_files.checkpoint_rows(view_of(engine))

    assert isinstance(found, Table)
    assert found.rows[0][-1] == "removed: the study keeps the weights of its best, trial 1"


def test_the_weights_of_the_baseline_are_where_they_were_though_an_arm_is_better(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=4, verdicts=["converged"] * 4))
    configure(engine, **Study.from_mapping(LOOKS, origin="test").to_mapping())
    keep_checkpoint(engine, 0)
    with engine.begin() as connection:
        connection.execute(update(schema.trial).where(schema.trial.c.number == 1).values(fitness=0.99))

    found = trial_files.checkpoint_rows(view_of(engine))

    assert isinstance(found, Table) and found.rows[0][-1] == "trials/0000/seed-0.pt"


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("running", "the first is written after the first epoch"), ("waiting", "its training has not begun")],
)
def test_a_trial_that_is_not_over_says_when_its_checkpoint_comes(engine: Engine, verdict: str, said: str) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=[verdict]))
    end_in_first_epoch(engine, 0)

    assert trial_files.checkpoint_rows(view_of(engine)) == Empty(f"There is no checkpoint: {said}.")


# How it is trained again


def test_a_trial_of_a_study_under_former_defaults_is_trained_again_with_those(engine: Engine) -> None:
    space = {"lr0": FloatDistribution(0.1, 0.2), "nesterov": CategoricalDistribution([True, False])}
    add_study(engine, Plan(num_trials=1, verdicts=["converged"], space=space))
    study = configure(engine, hyperparameters={"weight_decay": 0.001}, defaults=1)

    _, hyp = trained_again(engine)

    params = typed_params(study, view_of(engine).study.params_of(0))
    assert isinstance(params["nesterov"], bool)
    assert hyp.values == study.hyperparameters(params)
    assert (hyp.values.coding, hyp.values.weight_decay) == ("exp", 0.001)


def test_a_trial_is_trained_again_with_its_own_seeds_which_are_not_those_of_every_trial(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=4, verdicts=["converged"] * 4))
    configure(engine, **Study.from_mapping(LOOKS, origin="test").to_mapping())

    found = [trained_again(engine, number)[0].partition("--seeds ")[2] for number in (0, 3)]

    assert found == ["0,1,2,3,4,5", "6,7,8,9"]


def test_what_trains_a_trial_again_is_seen_whole_and_no_part_of_it_looks_like_the_command(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["converged"]))

    found = trial_files.reproduction_rows(view_of(engine))

    assert not isinstance(found, Empty) and "all of this script" in found[0].text
    assert found[1].is_open and found[1].summary == "the script: writes trial-0.yaml, then trains with it"
    (node,) = panel_body(found[1:])
    assert isinstance(node, Element) and node.attributes["open"]


def test_a_checkpoint_is_missed_of_the_seeds_of_the_trial_alone(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=4, verdicts=["converged"] * 4, seeds=(6, 7, 8, 9)))
    configure(engine, **Study.from_mapping(LOOKS, origin="test").to_mapping())

    found = trial_files.checkpoint_rows(view_of(engine, 3))

    assert isinstance(found, Table) and [row[0] for row in found.rows] == [6, 7, 8, 9]


def test_no_command_trains_a_trial_of_a_study_of_noise_again(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=2, verdicts=["converged"] * 2, space={}))
    configure(engine, **Study.from_mapping(NOISE, origin="test").to_mapping())

    found = trial_files.reproduction_rows(view_of(engine))

    assert isinstance(found, Empty) and "combination" in found.text


def test_a_study_that_this_version_cannot_read_says_so_in_place_of_a_command(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["converged"]))
    with engine.begin() as connection:
        connection.execute(update(schema.study).values(config='{"name": "later", "unheard_of": 1}'))

    found = trial_files.reproduction_rows(view_of(engine))

    assert isinstance(found, Empty) and "another version" in found.text


# What is read


def statements_of(reader: Reader) -> list[str]:
    """A list that grows by each statement the reader makes from now on."""
    said: list[str] = []
    event.listen(reader._engine, "before_cursor_execute", lambda *given: said.append(str(given[2])))
    return said


def test_all_panels_of_a_page_share_one_reading_of_the_trial(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=2, seeds=(0, 1)))
    reader, state = Reader(str(engine.url)), PageState(page="/trial", study=NAME, number=1)
    said = statements_of(reader)

    drawn(reader, state)
    drawn(reader, state)

    aggregated = [text for text in said if ("evolve_step" in text and "update_ratio" in text) or "loss_low" in text]
    assert len(aggregated) == 2  # losses and health, of which nothing is read twice
    assert sum("lr_low" in text for text in said) == 1
    assert sum("FROM evolve_epoch" in text and "train_box" in text and "avg(" not in text for text in said) == 1
    assert sum("distribution_json" in text for text in said) == 1


def test_a_panel_reads_only_the_measurements_it_shows(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=2))
    reader, state = Reader(str(engine.url)), PageState(page="/trial", study=NAME, number=1)
    said = statements_of(reader)

    page_of(reader, state)
    panel_content(reader, PanelContext(state=state, panel="reproduction"))
    before = [text for text in said if "_low" in text]
    panel_content(reader, PanelContext(state=state, panel="schedule"))
    after = [text for text in said if "_low" in text]

    assert not before
    assert len(after) == 1
    assert "momentum_low" in after[0]
    assert "grad_norm" not in after[0]


def test_new_steps_of_the_seed_that_is_shown_are_read_though_another_has_more(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, seeds=(0, 1)))
    step = schema.step.c
    with engine.begin() as connection:
        connection.execute(schema.step.delete().where(step.seed == 1, step.step > 5))
    reader, state = Reader(str(engine.url)), PageState(page="/trial", study=NAME, number=0, seed=1)
    before, version = reader.view(state), reader.version(state)
    with engine.begin() as connection:
        connection.execute(update(schema.step).where(step.seed == 1, step.step == 5).values(step=6))
    after = reader.view(state)

    assert isinstance(before, TrialView) and isinstance(after, TrialView)
    assert reader.version(state) != version
    assert after.measured.frame("rates")["last_step"].max() == 6
